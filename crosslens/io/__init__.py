"""Files, records, progress and errors, used by every other package.

Belongs here: atomic writes, JSON, JSON lines and CSV, hashes, progress lines, `InputError`.
Does not belong here: anything that knows models, configurations or Snakemake.
"""
