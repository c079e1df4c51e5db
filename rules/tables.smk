"""Every table of the paper with its source data, our numbers next to the paper's.

INPUTS: <results>/evaluation/{family}/{variant}/: results.json, samples.jsonl;
<results>/interventions/{family}/effects.csv; the paper's numbers.
OUTPUTS: <results>/tables/table{1..5}.{pdf,png,csv}.
"""


rule tabulate_accuracy:
    input:
        results=collect(
            "<results>/evaluation/{family}/{variant}/results.json",
            family=FAMILIES,
            variant=FINAL.values(),
        ),
        sft=collect(
            "<results>/evaluation/{family}/{variant}/samples.jsonl",
            family=FAMILIES,
            variant=FINAL["sft"],
        ),
        rl=collect(
            "<results>/evaluation/{family}/{variant}/samples.jsonl",
            family=FAMILIES,
            variant=FINAL["rl"],
        ),
        paper=workflow.source_path("../crosslens/reporting/templates/paper.json"),
    output:
        png=report(
            "<results>/tables/table{number}.png",
            caption="../crosslens/reporting/templates/caption.rst",
            category="Tables",
        ),
        pdf="<results>/tables/table{number}.pdf",
        csv="<results>/tables/table{number}.csv",
    log:
        "<logs>/tabulate_accuracy/table{number}.log",
    benchmark:
        "<benchmarks>/tabulate_accuracy/table{number}.tsv"
    wildcard_constraints:
        number=numbered_tables("tabulate_accuracy"),
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=rule_resource("tabulate_accuracy", "mem_mb", 1500),
        runtime=rule_resource("tabulate_accuracy", "runtime", 20),
    params:
        code=library_hash("scripts/tabulate_accuracy.py"),
        title=table_title,
        tasks=[*MATH, *TASKS],
        labels=LABELS,
        caption=table_caption,
    script:
        "../scripts/tabulate_accuracy.py"


rule tabulate_interventions:
    input:
        tables=collect("<results>/interventions/{family}/effects.csv", family=FAMILIES),
        paper=workflow.source_path("../crosslens/reporting/templates/paper.json"),
    output:
        png=report(
            "<results>/tables/table{number}.png",
            caption="../crosslens/reporting/templates/caption.rst",
            category="Tables",
        ),
        pdf="<results>/tables/table{number}.pdf",
        csv="<results>/tables/table{number}.csv",
    log:
        "<logs>/tabulate_interventions/table{number}.log",
    benchmark:
        "<benchmarks>/tabulate_interventions/table{number}.tsv"
    wildcard_constraints:
        number=numbered_tables("tabulate_interventions"),
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=rule_resource("tabulate_interventions", "mem_mb", 1500),
        runtime=rule_resource("tabulate_interventions", "runtime", 20),
    params:
        code=library_hash("scripts/tabulate_interventions.py"),
        title=table_title,
        families=list(FAMILIES),
        target=table_target,
        tasks=table_tasks,
        labels=LABELS,
        caption=table_caption,
    script:
        "../scripts/tabulate_interventions.py"
