"""Every table of the paper with its source data and the paper's numbers beside ours.

INPUTS: results/{study}/evaluation/{family}/{variant}/: results.json, samples.jsonl;
results/{study}/interventions/{family}/trio-r0/{target}.csv; report/paper.json.
OUTPUTS: results/{study}/tables/table{1..5}.{pdf,png,csv}.
"""


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
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
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
            "results/{study}/interventions/{family}/{trio}/{target}.csv",
            family=LABELS,
            trio=study_design.TRIO,
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
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
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
