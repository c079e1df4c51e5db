"""What a study will take, from its configuration alone: jobs, GPU-hours, wall time, disk, memory.

Estimates by arithmetic, whose assumptions are in `rates` and printed with them. Only Snakemake's
own environment is needed: neither data nor models are opened, but for a local model's config.json.
"""
