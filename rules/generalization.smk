"""Generalization features: those active on the samples that RL answers correctly and base does not.

INPUTS: <results>/evaluation/{family}/{base,sft-5,rl-5}/samples.jsonl, the three-model crosscoders,
their models.
OUTPUTS: <results>/generalization/{family}/: critical.json, questions.jsonl, questions.csv,
states.safetensors; {crosscoder}-r{replicate}/: scores.npz, scores.csv, features.json.
"""


rule find_critical_samples:
    input:
        base="<results>/evaluation/{family}/base/samples.jsonl",
        rl=f"<results>/evaluation/{{family}}/{FINAL['rl']}/samples.jsonl",
    output:
        "<results>/generalization/{family}/critical.json",
    log:
        "<logs>/find_critical_samples/{family}.log",
    benchmark:
        "<benchmarks>/find_critical_samples/{family}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=rule_resource("find_critical_samples", "mem_mb", 500),
        runtime=rule_resource("find_critical_samples", "runtime", 10),
    params:
        code=library_hash("scripts/find_critical_samples.py"),
        tasks=[*TASKS, *HELDOUT_TASKS],
    script:
        "../scripts/find_critical_samples.py"


rule answer_questions:
    input:
        models=collect("<results>/models/{{family}}/{variant}", variant=FINAL.values()),
        samples=collect(
            "<results>/evaluation/{{family}}/{variant}/samples.jsonl",
            variant=FINAL.values(),
        ),
        files=BENCHMARK_FILES.values(),
    output:
        questions="<results>/generalization/{family}/questions.jsonl",
        table="<results>/generalization/{family}/questions.csv",
        states="<results>/generalization/{family}/states.safetensors",
    log:
        "<logs>/answer_questions/{family}.log",
    benchmark:
        "<benchmarks>/answer_questions/{family}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        gpu=rule_resource("answer_questions", "gpu"),
        mem_mb=rule_resource("answer_questions", "mem_mb", 4000),
        runtime=rule_resource("answer_questions", "runtime", 60),
    params:
        code=library_hash("scripts/answer_questions.py"),
        evaluation=EVALUATION,
        layer=config["activations"]["layer"],
        seed=config["seed"],
    script:
        "../scripts/answer_questions.py"


rule score_features:
    input:
        questions="<results>/generalization/{family}/questions.csv",
        states="<results>/generalization/{family}/states.safetensors",
        crosscoder="<results>/crosscoders/{family}/{crosscoder}-r{replicate}/crosscoder.safetensors",
    output:
        scores="<results>/generalization/{family}/{crosscoder}-r{replicate}/scores.npz",
        table="<results>/generalization/{family}/{crosscoder}-r{replicate}/scores.csv",
    log:
        "<logs>/score_features/{family}/{crosscoder}-r{replicate}.log",
    benchmark:
        "<benchmarks>/score_features/{family}/{crosscoder}-r{replicate}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        gpu=rule_resource("score_features", "gpu"),
        mem_mb=rule_resource("score_features", "mem_mb", 4000),
        runtime=rule_resource("score_features", "runtime", 60),
    params:
        code=library_hash("scripts/score_features.py"),
        tasks=TASKS,
        readout=config["generalization"]["readout"],
        unit=config["causal_protocol"]["dose_unit"],
    script:
        "../scripts/score_features.py"


rule select_features:
    input:
        scores="<results>/generalization/{family}/{crosscoder}-r{replicate}/scores.npz",
        features="<results>/crosscoders/{family}/{crosscoder}-r{replicate}/features.csv",
    output:
        "<results>/generalization/{family}/{crosscoder}-r{replicate}/features.json",
    log:
        "<logs>/select_features/{family}/{crosscoder}-r{replicate}.log",
    benchmark:
        "<benchmarks>/select_features/{family}/{crosscoder}-r{replicate}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=rule_resource("select_features", "mem_mb", 1000),
        runtime=rule_resource("select_features", "runtime", 10),
    params:
        code=library_hash("scripts/select_features.py"),
        tasks=TASKS,
        generalization=config["generalization"],
        protocol=protocol_settings(
            "score", "least_features", "matched_sets", "exploratory_sets"
        ),
        random_sets=config["interventions"]["random_sets"],
        seed=crosscoder_seed,
    script:
        "../scripts/select_features.py"
