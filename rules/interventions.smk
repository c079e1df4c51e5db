"""Causal interventions on the critical samples: zeroing features in RL, amplifying them in base.

INPUTS: results/{study}/generalization/{family}/, the crosscoders of three models, those models.
OUTPUTS: results/{study}/interventions/{family}/{crosscoder}-r{replica}/{target}.csv: one row for each feature set and task.
"""


rule intervene:
    input:
        features="results/{study}/generalization/{family}/{crosscoder}-r{replica}/features.json",
        critical="results/{study}/generalization/{family}/critical.json",
        models=expand(
            "results/{{study}}/models/{{family}}/{variant}", variant=FINAL.values()
        ),
        crosscoder="results/{study}/crosscoders/{family}/{crosscoder}-r{replica}/crosscoder.safetensors",
        files=list(config["evaluation"].get("files", {}).values()),
    output:
        "results/{study}/interventions/{family}/{crosscoder}-r{replica}/{target}.csv",
    log:
        "results/{study}/logs/intervene/{family}/{crosscoder}-r{replica}/{target}.log",
    benchmark:
        "results/{study}/benchmarks/intervene/{family}/{crosscoder}-r{replica}/{target}.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=gpus("intervene"),
        mem_mb=need("intervene", "mem_mb", 4000),
        runtime=need("intervene", "runtime", 240),
    params:
        code=code("scripts/intervene.py"),
        evaluation=lookup(dpath="evaluation", within=config),
        activations=lookup(dpath="activations", within=config),
        value=value_of,
    script:
        "../scripts/intervene.py"
