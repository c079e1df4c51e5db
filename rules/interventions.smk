"""Causal interventions: features edited in base, RL and SFT, on all questions, with their controls.

INPUTS: <results>/generalization/{family}/, the three-model crosscoders, their models.
OUTPUTS: <results>/interventions/{family}/: {crosscoder}-r{replicate}/{edited_model}/: arms.json,
outcomes.npz; effects.csv, comparisons.csv, evidence.json; gap.csv (the gap test).
"""


rule measure_gap:
    input:
        crosscoder=f"<results>/crosscoders/{{family}}/{TRIO}/crosscoder.safetensors",
        models=collect("<results>/models/{{family}}/{variant}", variant=FINAL.values()),
        questions="<results>/generalization/{family}/questions.jsonl",
        table="<results>/generalization/{family}/questions.csv",
    output:
        "<results>/interventions/{family}/gap.csv",
    log:
        "<logs>/measure_gap/{family}.log",
    benchmark:
        "<benchmarks>/measure_gap/{family}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        gpu=rule_resource("measure_gap", "gpu"),
        mem_mb=rule_resource("measure_gap", "mem_mb", 4000),
        runtime=rule_resource("measure_gap", "runtime", 60),
    params:
        code=library_hash("scripts/measure_gap.py"),
        evaluation=evaluation_settings("batch_size", "tasks", "heldout_tasks"),
        activations=config["activations"],
        seed=config["seed"],
    script:
        "../scripts/measure_gap.py"


rule intervene:
    input:
        models=collect("<results>/models/{{family}}/{variant}", variant=FINAL.values()),
        questions="<results>/generalization/{family}/questions.jsonl",
        table="<results>/generalization/{family}/questions.csv",
        states="<results>/generalization/{family}/states.safetensors",
        features="<results>/generalization/{family}/{crosscoder}-r{replicate}/features.json",
        crosscoder="<results>/crosscoders/{family}/{crosscoder}-r{replicate}/crosscoder.safetensors",
    output:
        records="<results>/interventions/{family}/{crosscoder}-r{replicate}/{edited_model}/arms.json",
        outcomes="<results>/interventions/{family}/{crosscoder}-r{replicate}/{edited_model}/outcomes.npz",
    log:
        "<logs>/intervene/{family}/{crosscoder}-r{replicate}/{edited_model}.log",
    benchmark:
        "<benchmarks>/intervene/{family}/{crosscoder}-r{replicate}/{edited_model}.tsv"
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
        evaluation=evaluation_settings("batch_size", "tasks", "heldout_tasks"),
        activations=config["activations"],
        protocol=protocol_settings(
            *("amplify", "matched_sets", "exploratory_sets"),
            *("multiply", "clamp", "curve_sets"),
        ),
        amplify_to=config["interventions"]["amplify_to"],
        full=is_trio,
        seed=crosscoder_seed,
    script:
        "../scripts/intervene.py"


rule assess_interventions:
    input:
        questions="<results>/generalization/{family}/questions.jsonl",
        table="<results>/generalization/{family}/questions.csv",
        features=collect(
            "<results>/generalization/{{family}}/{trio}/features.json",
            trio=crosscoder_design.seeds(crosscoder_design.TRIO_MODELS, CROSSCODER),
        ),
        records=collect(
            "<results>/interventions/{{family}}/{edited}/arms.json",
            edited=edited_models(),
        ),
        outcomes=collect(
            "<results>/interventions/{{family}}/{edited}/outcomes.npz",
            edited=edited_models(),
        ),
        topk_records=collect(
            "<results>/interventions/{{family}}/{edited}/arms.json",
            edited=edited_with_topk(),
        ),
        topk_outcomes=collect(
            "<results>/interventions/{{family}}/{edited}/outcomes.npz",
            edited=edited_with_topk(),
        ),
    output:
        effects="<results>/interventions/{family}/effects.csv",
        compared="<results>/interventions/{family}/comparisons.csv",
        evidence="<results>/interventions/{family}/evidence.json",
    log:
        "<logs>/assess_interventions/{family}.log",
    benchmark:
        "<benchmarks>/assess_interventions/{family}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=rule_resource("assess_interventions", "mem_mb", 2000),
        runtime=rule_resource("assess_interventions", "runtime", 30),
    params:
        code=library_hash("scripts/assess_interventions.py"),
        evaluation=evaluation_settings("tasks", "heldout_tasks"),
        protocol=protocol_settings("alpha", "smallest_effect", "hypotheses", "amplify"),
        seed=config["seed"],
    script:
        "../scripts/assess_interventions.py"
