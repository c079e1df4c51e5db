"""How specific features are to each model, and how the most specific ones change over training.

INPUTS: results/{study}/crosscoders/{family}/*/crosscoder.safetensors and features.csv.
OUTPUTS: results/{study}/metrics/{family}/: nrn.csv, mas.csv, overlap.csv, rank-shifts.csv.
"""


rule score_specificity:
    input:
        pairs=pair_files,
        trios=trio_files,
    output:
        nrn="results/{study}/metrics/{family}/nrn.csv",
        mas="results/{study}/metrics/{family}/mas.csv",
    log:
        "results/{study}/logs/score_specificity/{family}.log",
    benchmark:
        "results/{study}/benchmarks/score_specificity/{family}.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("score_specificity", "mem_mb", 2000),
        runtime=need("score_specificity", "runtime", 20),
    params:
        code=code("scripts/score_specificity.py"),
    script:
        "../scripts/score_specificity.py"


rule measure_overlap:
    input:
        nrn="results/{study}/metrics/{family}/nrn.csv",
        pairs=pair_files,
    output:
        "results/{study}/metrics/{family}/overlap.csv",
    log:
        "results/{study}/logs/measure_overlap/{family}.log",
    benchmark:
        "results/{study}/benchmarks/measure_overlap/{family}.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("measure_overlap", "mem_mb", 2000),
        runtime=need("measure_overlap", "runtime", 20),
    params:
        code=code("scripts/measure_overlap.py"),
        top=lookup(dpath="metrics/top", within=config),
        same_cosine=lookup(dpath="metrics/same_cosine", within=config),
    script:
        "../scripts/measure_overlap.py"


rule rank_shifts:
    input:
        nrn="results/{study}/metrics/{family}/nrn.csv",
    output:
        "results/{study}/metrics/{family}/rank-shifts.csv",
    log:
        "results/{study}/logs/rank_shifts/{family}.log",
    benchmark:
        "results/{study}/benchmarks/rank_shifts/{family}.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("rank_shifts", "mem_mb", 1000),
        runtime=need("rank_shifts", "runtime", 20),
    params:
        code=code("scripts/rank_shifts.py"),
        top=lookup(dpath="metrics/top", within=config),
    script:
        "../scripts/rank_shifts.py"
