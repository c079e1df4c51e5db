"""Check before the first job what could stop a study: `snakemake doctor`."""
