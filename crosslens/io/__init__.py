"""Files, records, progress and errors: the leaf that every other room may use.

Belongs here: atomic files, JSON, JSON lines and CSV, hashes, progress lines, `InputError`.
Does not: anything that knows models, configurations or Snakemake.
"""
