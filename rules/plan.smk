"""What the study will take, printed in seconds from the configuration alone: `snakemake plan`.

INPUTS: the configuration. Neither data nor models are read.
OUTPUTS: none; jobs, GPU-hours, wall time, memory and disk on the terminal.
"""

from crosslens.workflow.cost_estimate import describe


localrules:
    plan,


rule plan:
    log:
        f"results/{config['study']}/logs/plan.log",
    params:
        needs=NEEDS,
    run:
        try:
            print(describe(config, params.needs))
        except InputError as error:
            sys.exit(f"Error: {error}")
