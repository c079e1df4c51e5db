"""What does post-training do inside a language model? From SFT and GRPO to every table and figure."""

if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/inputs.smk"
include: "rules/targets.smk"
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
include: "rules/tables.smk"
include: "rules/report.smk"
include: "rules/plan.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        figures(*range(1, 14)),
        tables(*range(1, 6)),
        expand(
            "results/{study}/{file}",
            study=config["study"],
            file=["report.html", "summary.json"],
        ),


for target, files in single_targets().items():

    rule:
        name:
            target
        input:
            files,
        localrule: True
