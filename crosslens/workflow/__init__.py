"""Everything that knows Snakemake, SLURM, GPUs and processes.

Belongs here: the frame around a job (log, one-line errors, GPUs held), process trees, GPU locks,
SLURM's messages, the hash of library code, cost estimates, versions.
Does not belong here: anything that computes on models. This package imports no torch.
"""
