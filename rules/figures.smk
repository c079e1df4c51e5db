"""Every figure of the paper with its source data, and the training curves beside them.

INPUTS: results/{study}/metrics/{family}/: nrn.csv, overlap.csv, mas.csv, rank-shifts.csv;
results/{study}/generalization/{family}/trio-r0/features.json; the logs of training.
OUTPUTS: results/{study}/figures/: figure{1..13}.{pdf,png,csv}, the same of sft-loss, grpo-curves, crosscoder-training.
"""


rule draw_nrn:
    input:
        tables=lambda w: expand(
            "results/{study}/metrics/{family}/nrn.csv",
            family=families_of(w),
            study=w.study,
        ),
    output:
        png=report(
            "results/{study}/figures/figure{number}.png",
            caption="../report/draw_nrn.rst",
            category="Figures",
        ),
        pdf="results/{study}/figures/figure{number}.pdf",
        csv="results/{study}/figures/figure{number}.csv",
    log:
        "results/{study}/logs/draw_nrn/figure{number}.log",
    benchmark:
        "results/{study}/benchmarks/draw_nrn/figure{number}.tsv"
    wildcard_constraints:
        number="1|6",
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("draw_nrn", "mem_mb", 1500),
        runtime=need("draw_nrn", "runtime", 20),
    params:
        code=code("scripts/draw_nrn.py"),
        families=families_of,
        labels=LABELS,
    script:
        "../scripts/draw_nrn.py"


rule draw_overlap:
    input:
        tables=lambda w: expand(
            "results/{study}/metrics/{family}/overlap.csv",
            family=families_of(w),
            study=w.study,
        ),
    output:
        png=report(
            "results/{study}/figures/figure{number}.png",
            caption="../report/draw_overlap.rst",
            category="Figures",
        ),
        pdf="results/{study}/figures/figure{number}.pdf",
        csv="results/{study}/figures/figure{number}.csv",
    log:
        "results/{study}/logs/draw_overlap/figure{number}.log",
    benchmark:
        "results/{study}/benchmarks/draw_overlap/figure{number}.tsv"
    wildcard_constraints:
        number="2|7",
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("draw_overlap", "mem_mb", 1500),
        runtime=need("draw_overlap", "runtime", 20),
    params:
        code=code("scripts/draw_overlap.py"),
        families=families_of,
        labels=LABELS,
        top=lookup(dpath="metrics/top", within=config),
    script:
        "../scripts/draw_overlap.py"


rule draw_mas:
    input:
        tables=lambda w: expand(
            "results/{study}/metrics/{family}/mas.csv",
            family=families_of(w),
            study=w.study,
        ),
    output:
        png=report(
            "results/{study}/figures/figure{number}.png",
            caption="../report/draw_mas.rst",
            category="Figures",
        ),
        pdf="results/{study}/figures/figure{number}.pdf",
        csv="results/{study}/figures/figure{number}.csv",
    log:
        "results/{study}/logs/draw_mas/figure{number}.log",
    benchmark:
        "results/{study}/benchmarks/draw_mas/figure{number}.tsv"
    wildcard_constraints:
        number="3|5",
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("draw_mas", "mem_mb", 1500),
        runtime=need("draw_mas", "runtime", 20),
    params:
        code=code("scripts/draw_mas.py"),
        families=families_of,
        labels=LABELS,
    script:
        "../scripts/draw_mas.py"


rule draw_feature_overlap:
    input:
        tables=lambda w: expand(
            "results/{study}/generalization/{family}/{trio}/features.json",
            family=families_of(w),
            trio=study_design.TRIO,
            study=w.study,
        ),
    output:
        png=report(
            "results/{study}/figures/figure{number}.png",
            caption="../report/draw_feature_overlap.rst",
            category="Figures",
        ),
        pdf="results/{study}/figures/figure{number}.pdf",
        csv="results/{study}/figures/figure{number}.csv",
    log:
        "results/{study}/logs/draw_feature_overlap/figure{number}.log",
    benchmark:
        "results/{study}/benchmarks/draw_feature_overlap/figure{number}.tsv"
    wildcard_constraints:
        number="4",
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("draw_feature_overlap", "mem_mb", 1500),
        runtime=need("draw_feature_overlap", "runtime", 20),
    params:
        code=code("scripts/draw_feature_overlap.py"),
        families=families_of,
        labels=LABELS,
        tasks=TASKS,
    script:
        "../scripts/draw_feature_overlap.py"


rule draw_rank_shifts:
    input:
        tables=lambda w: expand(
            "results/{study}/metrics/{family}/rank-shifts.csv",
            family=families_of(w),
            study=w.study,
        ),
    output:
        png=report(
            "results/{study}/figures/figure{number}.png",
            caption="../report/draw_rank_shifts.rst",
            category="Figures",
        ),
        pdf="results/{study}/figures/figure{number}.pdf",
        csv="results/{study}/figures/figure{number}.csv",
    log:
        "results/{study}/logs/draw_rank_shifts/figure{number}.log",
    benchmark:
        "results/{study}/benchmarks/draw_rank_shifts/figure{number}.tsv"
    wildcard_constraints:
        number="8|9|10|11|12|13",
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("draw_rank_shifts", "mem_mb", 1500),
        runtime=need("draw_rank_shifts", "runtime", 20),
    params:
        code=code("scripts/draw_rank_shifts.py"),
        families=families_of,
        labels=LABELS,
        paradigm=paradigm_of,
        checkpoints=checkpoints_of,
        top=lookup(dpath="metrics/top", within=config),
    script:
        "../scripts/draw_rank_shifts.py"


rule draw_training_curves:
    input:
        tables=tables_of_curves,
    output:
        png=report(
            "results/{study}/figures/{curves}.png",
            caption="../report/draw_training_curves.rst",
            category="Training",
        ),
        pdf="results/{study}/figures/{curves}.pdf",
        csv="results/{study}/figures/{curves}.csv",
    log:
        "results/{study}/logs/draw_training_curves/{curves}.log",
    benchmark:
        "results/{study}/benchmarks/draw_training_curves/{curves}.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("draw_training_curves", "mem_mb", 1500),
        runtime=need("draw_training_curves", "runtime", 20),
    params:
        code=code("scripts/draw_training_curves.py"),
        labels=LABELS,
    script:
        "../scripts/draw_training_curves.py"
