"""Features that carry generalization: found on the samples that RL gets right and base does not.

INPUTS: results/{study}/evaluation/{family}/{base,rl-5}/samples.jsonl, the crosscoders of three models, those models.
OUTPUTS: results/{study}/generalization/{family}/: critical.json; {crosscoder}-r{replica}/: scores.csv, features.json.
"""


rule find_critical_samples:
    input:
        base="results/{study}/evaluation/{family}/base/samples.jsonl",
        rl="results/{study}/evaluation/{family}/rl-5/samples.jsonl",
    output:
        "results/{study}/generalization/{family}/critical.json",
    log:
        "results/{study}/logs/find_critical_samples/{family}.log",
    benchmark:
        "results/{study}/benchmarks/find_critical_samples/{family}.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("find_critical_samples", "mem_mb", 500),
        runtime=need("find_critical_samples", "runtime", 10),
    params:
        code=code("scripts/find_critical_samples.py"),
        tasks=[*TASKS, *UNSEEN],
    script:
        "../scripts/find_critical_samples.py"


rule score_features:
    input:
        critical="results/{study}/generalization/{family}/critical.json",
        models=expand(
            "results/{{study}}/models/{{family}}/{variant}", variant=FINAL.values()
        ),
        crosscoder="results/{study}/crosscoders/{family}/{crosscoder}-r{replica}/crosscoder.safetensors",
        files=list(config["evaluation"].get("files", {}).values()),
    output:
        "results/{study}/generalization/{family}/{crosscoder}-r{replica}/scores.csv",
    log:
        "results/{study}/logs/score_features/{family}/{crosscoder}-r{replica}.log",
    benchmark:
        "results/{study}/benchmarks/score_features/{family}/{crosscoder}-r{replica}.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=gpus("score_features"),
        mem_mb=need("score_features", "mem_mb", 4000),
        runtime=need("score_features", "runtime", 60),
    params:
        code=code("scripts/score_features.py"),
        evaluation=lookup(dpath="evaluation", within=config),
        tasks=TASKS,
    script:
        "../scripts/score_features.py"


rule select_features:
    input:
        scores="results/{study}/generalization/{family}/{crosscoder}-r{replica}/scores.csv",
        critical="results/{study}/generalization/{family}/critical.json",
        features="results/{study}/crosscoders/{family}/{crosscoder}-r{replica}/features.csv",
    output:
        "results/{study}/generalization/{family}/{crosscoder}-r{replica}/features.json",
    log:
        "results/{study}/logs/select_features/{family}/{crosscoder}-r{replica}.log",
    benchmark:
        "results/{study}/benchmarks/select_features/{family}/{crosscoder}-r{replica}.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("select_features", "mem_mb", 1000),
        runtime=need("select_features", "runtime", 10),
    params:
        code=code("scripts/select_features.py"),
        tasks=TASKS,
        generalization=lookup(dpath="generalization", within=config),
        random_sets=lookup(dpath="interventions/random_sets", within=config),
        seed=lambda w: config["seed"] + int(w.replica),
    script:
        "../scripts/select_features.py"
