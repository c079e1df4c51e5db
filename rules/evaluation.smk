"""Every benchmark for base and the final tuned models, through lm-eval; nothing is evaluated twice.

INPUTS: results/{study}/models/{family}/{variant}, the local files of `evaluation.files`.
OUTPUTS: results/{study}/evaluation/{family}/{variant}/: results.json (accuracies), samples.jsonl (outcomes).
"""


rule evaluate_model:
    input:
        model="results/{study}/models/{family}/{variant}",
        files=list(config["evaluation"].get("files", {}).values()),
    output:
        results="results/{study}/evaluation/{family}/{variant}/results.json",
        samples="results/{study}/evaluation/{family}/{variant}/samples.jsonl",
    log:
        "results/{study}/logs/evaluate_model/{family}/{variant}.log",
    benchmark:
        "results/{study}/benchmarks/evaluate_model/{family}/{variant}.tsv"
    priority: 10  # critical samples and interventions wait for it
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=gpus("evaluate_model"),
        mem_mb=need("evaluate_model", "mem_mb", 4000),
        runtime=need("evaluate_model", "runtime", 240),
    params:
        code=code("scripts/evaluate_model.py"),
        evaluation=lookup(dpath="evaluation", within=config),
    script:
        "../scripts/evaluate_model.py"
