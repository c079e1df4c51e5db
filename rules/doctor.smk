"""What could stop the study, checked in a minute: `snakemake --cores 1 doctor`.

INPUTS: the configuration; this machine, its environments, SLURM and the hub.
OUTPUTS: none; one line for each check on the terminal: ok, warning or error, and what to do.
"""


rule doctor:
    log:
        "<logs>/doctor.log",
    retries: 0
    localrule: True
    params:
        requests=RULE_RESOURCES,
    run:
        hooks.print_examination(
            workflow, STUDY, params.requests, ENVIRONMENTS, ROOT
        )
