"""The page on all results that a reader opens first, and the same numbers for machines.

INPUTS: the results of all other rules; report/: captions, the paper's numbers, the page's template.
OUTPUTS: results/{study}/report.html, summary.json.
"""


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
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
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
