"""What does post-training do inside a language model? From SFT and GRPO to every table and figure."""

if not workflow.overwrite_configfiles:

    configfile: "mini.yaml"


include: "rules/common.smk"
include: "rules/world.smk"
include: "rules/data.smk"
include: "rules/sft.smk"
include: "rules/grpo.smk"
include: "rules/evaluation.smk"
include: "rules/activations.smk"
include: "rules/crosscoders.smk"
include: "rules/metrics.smk"
include: "rules/generalization.smk"
include: "rules/interventions.smk"
include: "rules/figures.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        expand(
            "results/{study}/figures/figure{number}.{format}",
            study=config["study"],
            number=range(1, 14),
            format=["pdf", "png", "csv"],
        ),
        expand(
            "results/{study}/tables/table{number}.{format}",
            study=config["study"],
            number=range(1, 6),
            format=["pdf", "png", "csv"],
        ),
        expand(
            "results/{study}/{file}",
            study=config["study"],
            file=["report.html", "summary.json"],
        ),
