"""The page that a reader opens first, and the same numbers for machines.

INPUTS: the results of all other rules; crosslens/reporting/templates: page and the paper's numbers.
OUTPUTS: <results>/: report.html, summary.json.
"""


rule write_report:
    input:
        # Ancient, and in place of the images next to them: drawing a deleted image again writes no
        # new report. An ancient file must exist to be ignored; the drawing code is in `code`.
        figures=ancient(
            collect(
                "<results>/figures/{name}.csv",
                name=[*FIGURES, *study_curves()],
            )
        ),
        tables=collect("<results>/tables/table{number}.csv", number=TABLES),
        results=[file for family in FAMILIES for file in family_results(family)],
        manifests=training_manifests(),
        versions=backend_versions(),
        paper=workflow.source_path("../crosslens/reporting/templates/paper.json"),
        template=workflow.source_path("../crosslens/reporting/templates/report.html.j2"),
        script=workflow.source_path("../crosslens/reporting/templates/report.js"),
    output:
        page=report(
            "<results>/report.html",
            caption="../crosslens/reporting/templates/caption.rst",
            category="Report",
        ),
        summary="<results>/summary.json",
    log:
        "<logs>/write_report.log",
    benchmark:
        "<benchmarks>/write_report.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=rule_resource("write_report", "mem_mb", 2000),
        runtime=rule_resource("write_report", "runtime", 20),
    params:
        code=library_hash(
            "scripts/write_report.py",
            "scripts/draw_figure.py",
            "scripts/draw_training_curves.py",
        ),
        config=config,
        caption="All results: what was run, tables with their controls, figures, quality, data path.",
    script:
        "../scripts/write_report.py"
