"""Every figure of the paper with its source data, figures of controls, and the training curves.

What a figure shows is listed in crosslens/config/figure_list.py.

INPUTS: <results>/metrics/{family}/: nrn.csv, overlap.csv, mas.csv, rank-shifts.csv;
<results>/generalization/{family}/{trio}/features.json; <results>/interventions/{family}/:
effects.csv, comparisons.csv; the histories of training.
OUTPUTS: <results>/figures/: figure{1..13}.{pdf,png,csv}; controls, dose-curves, sft-loss,
grpo-curves and crosscoder-training in the same formats.
"""


rule draw_figure:
    input:
        sources=figure_sources,
    output:
        png=report(
            "<results>/figures/{figure}.png",
            caption="../crosslens/reporting/templates/caption.rst",
            category="Figures",
        ),
        pdf="<results>/figures/{figure}.pdf",
        csv="<results>/figures/{figure}.csv",
    log:
        "<logs>/draw_figure/{figure}.log",
    benchmark:
        "<benchmarks>/draw_figure/{figure}.tsv"
    wildcard_constraints:
        figure=either(FIGURES),
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=rule_resource("draw_figure", "mem_mb", 1500),
        runtime=rule_resource("draw_figure", "runtime", 20),
    params:
        code=library_hash("scripts/draw_figure.py"),
        figure=figure_settings,
        families=figure_families,
        labels=LABELS,
        tasks=TASKS,
        top=config["metrics"]["top_features"],
        caption=figure_caption,
    script:
        "../scripts/draw_figure.py"


rule draw_training_curves:
    input:
        tables=curve_tables,
    output:
        png=report(
            "<results>/figures/{curves}.png",
            caption="../crosslens/reporting/templates/caption.rst",
            category="Training",
        ),
        pdf="<results>/figures/{curves}.pdf",
        csv="<results>/figures/{curves}.csv",
    log:
        "<logs>/draw_training_curves/{curves}.log",
    benchmark:
        "<benchmarks>/draw_training_curves/{curves}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=rule_resource("draw_training_curves", "mem_mb", 1500),
        runtime=rule_resource("draw_training_curves", "runtime", 20),
    params:
        code=library_hash("scripts/draw_training_curves.py"),
        labels=LABELS,
        caption=curve_caption,
    script:
        "../scripts/draw_training_curves.py"
