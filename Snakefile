"""What does post-training do inside a language model? From SFT and GRPO to every table and figure."""

if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


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


# Single targets: `snakemake figure2`, `snakemake table1`, and all of one family by its name.
for number in range(1, 14):

    rule:
        name:
            f"figure{number}"
        input:
            figures(number),
        localrule: True


for number in range(1, 6):

    rule:
        name:
            f"table{number}"
        input:
            tables(number),
        localrule: True


for family in FAMILIES:

    rule:
        name:
            family
        input:
            results_of(family),
            expand(
                "results/{study}/metrics/{family}/{table}.csv",
                study=config["study"],
                family=family,
                table=["mas", "overlap", "rank-shifts"],
            ),
            figures(*figures_of(family)),
        localrule: True
