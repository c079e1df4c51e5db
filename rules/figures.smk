"""Every table and figure of the paper with its source data, and the report on all of it.

INPUTS: the results of all other rules; report/: captions, the paper's numbers, the page's template.
OUTPUTS: results/{study}/figures/figure{1..13}.{pdf,png,csv} and the training curves beside them,
results/{study}/tables/table{1..5}.{pdf,png,csv}, results/{study}/report.html, summary.json.
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
        "../envs/analysis.yaml"
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
        "../envs/analysis.yaml"
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
        "../envs/analysis.yaml"
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
            "results/{study}/generalization/{family}/features.json",
            family=families_of(w),
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
        "../envs/analysis.yaml"
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
        "../envs/analysis.yaml"
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
        "../envs/analysis.yaml"
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


rule tabulate_accuracy:
    input:
        results=lambda w: expand(
            "results/{study}/evaluation/{family}/{variant}/results.json",
            family=LABELS,
            variant=FINAL.values(),
            study=w.study,
        ),
        sft=lambda w: outcomes_of(w, FINAL["sft"]),
        rl=lambda w: outcomes_of(w, FINAL["rl"]),
        paper=workflow.source_path("../report/paper.json"),
    output:
        png=report(
            "results/{study}/tables/table{number}.png",
            caption="../report/tabulate_accuracy.rst",
            category="Tables",
        ),
        pdf="results/{study}/tables/table{number}.pdf",
        csv="results/{study}/tables/table{number}.csv",
    log:
        "results/{study}/logs/tabulate_accuracy/table{number}.log",
    benchmark:
        "results/{study}/benchmarks/tabulate_accuracy/table{number}.tsv"
    wildcard_constraints:
        number="1",
    conda:
        "../envs/analysis.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("tabulate_accuracy", "mem_mb", 1500),
        runtime=need("tabulate_accuracy", "runtime", 20),
    params:
        code=code("scripts/tabulate_accuracy.py"),
        tasks=[*MATH, *TASKS],
        labels=LABELS,
    script:
        "../scripts/tabulate_accuracy.py"


rule tabulate_interventions:
    input:
        tables=lambda w: expand(
            "results/{study}/interventions/{family}/{target}.csv",
            family=LABELS,
            target=target_of(w),
            study=w.study,
        ),
        paper=workflow.source_path("../report/paper.json"),
    output:
        png=report(
            "results/{study}/tables/table{number}.png",
            caption="../report/tabulate_interventions.rst",
            category="Tables",
        ),
        pdf="results/{study}/tables/table{number}.pdf",
        csv="results/{study}/tables/table{number}.csv",
    log:
        "results/{study}/logs/tabulate_interventions/table{number}.log",
    benchmark:
        "results/{study}/benchmarks/tabulate_interventions/table{number}.tsv"
    wildcard_constraints:
        number="2|3|4|5",
    conda:
        "../envs/analysis.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("tabulate_interventions", "mem_mb", 1500),
        runtime=need("tabulate_interventions", "runtime", 20),
    params:
        code=code("scripts/tabulate_interventions.py"),
        families=list(LABELS),
        tasks=tasks_of,
        labels=LABELS,
    script:
        "../scripts/tabulate_interventions.py"


rule write_report:
    input:
        figures=[
            ancient(path)
            for path in expand(
                "results/{{study}}/figures/{name}.csv",
                name=[*(f"figure{number}" for number in range(1, 14)), *curves()],
            )
        ],
        tables=expand("results/{{study}}/tables/table{number}.csv", number=range(1, 6)),
        results=[file for family in FAMILIES for file in results_of(family)],
        manifest=manifest_of_training,
        versions=versions_of_engines,
        paper=workflow.source_path("../report/paper.json"),
        template=workflow.source_path("../report/report.html.j2"),
        captions=[
            workflow.source_path(f"../report/{name}.rst")
            for name in [
                "draw_nrn",
                "draw_overlap",
                "draw_mas",
                "draw_feature_overlap",
                "draw_rank_shifts",
            ]
        ],
    output:
        page=report(
            "results/{study}/report.html",
            caption="../report/write_report.rst",
            category="Report",
        ),
        summary="results/{study}/summary.json",
    log:
        "results/{study}/logs/write_report.log",
    benchmark:
        "results/{study}/benchmarks/write_report.tsv"
    conda:
        "../envs/analysis.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("write_report", "mem_mb", 2000),
        runtime=need("write_report", "runtime", 20),
    params:
        # The figures' sources are ancient and stand for the images beside them, so that redrawing
        # an image that was deleted writes no new report (an ancient file must exist to be ignored);
        # the code of all that draw counts here instead.
        code=code("scripts/write_report.py", *DRAWING),
        config=config,
    script:
        "../scripts/write_report.py"
