"""Every benchmark for base and the final tuned models, through lm-eval, each evaluated once.

INPUTS: <results>/models/{family}/{variant}; the files of `evaluation.files`.
OUTPUTS: <results>/evaluation/{family}/{variant}/: results.json (accuracies), samples.jsonl (outcomes).
"""


rule evaluate_model:
    input:
        model="<results>/models/{family}/{variant}",
        files=BENCHMARK_FILES.values(),
    output:
        results="<results>/evaluation/{family}/{variant}/results.json",
        samples="<results>/evaluation/{family}/{variant}/samples.jsonl",
    log:
        "<logs>/evaluate_model/{family}/{variant}.log",
    benchmark:
        "<benchmarks>/evaluate_model/{family}/{variant}.tsv"
    priority: 10  # critical samples and interventions wait for it
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        gpu=rule_resource("evaluate_model", "gpu"),
        mem_mb=rule_resource("evaluate_model", "mem_mb", 4000),
        runtime=rule_resource("evaluate_model", "runtime", 240),
    params:
        code=library_hash("scripts/evaluate_model.py"),
        evaluation=EVALUATION,
    script:
        "../scripts/evaluate_model.py"
