"""What the study will take, printed in seconds from the configuration alone: `snakemake plan`.

INPUTS: the configuration. Neither data nor models are read.
OUTPUTS: none; jobs, GPU-hours, wall time, memory and disk on the terminal.
"""


rule plan:
    log:
        "<logs>/plan.log",
    localrule: True
    params:
        requests=RULE_RESOURCES,
    run:
        hooks.print_plan(STUDY, params.requests)
