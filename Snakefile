"""What does post-training do inside a language model? From SFT and GRPO to every table and figure."""

if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


include: "rules/common.smk"


pathvars:
    results=RESULTS,
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


include: "rules/inputs_models.smk"
include: "rules/inputs_activations.smk"
include: "rules/inputs_crosscoders.smk"
include: "rules/targets.smk"
include: "rules/world.smk"
include: "rules/downloads.smk"
include: "rules/data.smk"
include: "rules/sft.smk"
include: "rules/grpo.smk"
include: "rules/evaluation.smk"
include: "rules/activations.smk"
include: "rules/crosscoders.smk"
include: "rules/metrics.smk"
include: "rules/generalization.smk"
include: "rules/features.smk"
include: "rules/export.smk"
include: "rules/interventions.smk"
include: "rules/figures.smk"
include: "rules/tables.smk"
include: "rules/report.smk"
include: "rules/plan.smk"
include: "rules/doctor.smk"


rule all:
    default_target: True
    input:
        figures(*FIGURES),
        tables(*TABLES),
        "<results>/report.html",
        "<results>/summary.json",
    localrule: True


for target, files in named_targets().items():

    rule:
        name:
            target
        input:
            files,
        localrule: True


onstart:
    hooks.before_first_job(workflow, config)


onerror:
    hooks.report_failures(workflow, log)
