"""Estimate what a study will take from its configuration: jobs, GPU-hours, time, disk, memory.

The estimates are arithmetic; their assumptions are in `rates` and printed with them. They need only
Snakemake's own environment. No data or models are opened, except a local model's config.json.
"""
