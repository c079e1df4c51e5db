"""What could stop a study, checked before its first job: `snakemake doctor`."""
