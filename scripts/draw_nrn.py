"""Figures 1 and 6: distributions of NRN, SFT and RL against base."""

from pathlib import Path

import pandas as pd

from crosslens.reporting.plotting.specificity import draw_nrn, nrn_counts
from crosslens.reporting.plotting.style import save
from crosslens.workflow.job import run_job


def main(*, nrn: dict[str, Path], labels: dict[str, str], outputs: dict[str, Path]) -> None:
    """`nrn` maps families to their nrn.csv."""
    counts = pd.concat(nrn_counts(pd.read_csv(path), family) for family, path in nrn.items())
    save(draw_nrn(counts, labels), counts, outputs)


if __name__ == "__main__":
    families, tables = snakemake.params.families, snakemake.input.tables
    run_job(
        main,
        snakemake,
        nrn=dict(zip(families, tables, strict=True)),
        labels=snakemake.params.labels,
        outputs=snakemake.output,
    )
