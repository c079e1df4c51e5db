"""Causal interventions on the critical samples: features zeroed in RL, amplified in base.

INPUTS: <results>/generalization/{family}/, the three-model crosscoders, their models.
OUTPUTS: <results>/interventions/{family}/{crosscoder}-r{replica}/{target}.csv: one row for each
feature set and task.
"""


rule intervene:
    input:
        features="<results>/generalization/{family}/{crosscoder}-r{replica}/features.json",
        critical="<results>/generalization/{family}/critical.json",
        models=collect("<results>/models/{{family}}/{variant}", variant=FINAL.values()),
        crosscoder="<results>/crosscoders/{family}/{crosscoder}-r{replica}/crosscoder.safetensors",
        files=BENCHMARK_FILES,
    output:
        "<results>/interventions/{family}/{crosscoder}-r{replica}/{target}.csv",
    log:
        "<logs>/intervene/{family}/{crosscoder}-r{replica}/{target}.log",
    benchmark:
        "<benchmarks>/intervene/{family}/{crosscoder}-r{replica}/{target}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        gpu=rule_resource("intervene", "gpu"),
        mem_mb=rule_resource("intervene", "mem_mb", 4000),
        runtime=rule_resource("intervene", "runtime", 240),
    params:
        code=library_hash("scripts/intervene.py"),
        evaluation=config["evaluation"],
        activations=config["activations"],
        value=intervention_value,
    script:
        "../scripts/intervene.py"
