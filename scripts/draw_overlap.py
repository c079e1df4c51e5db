"""Figures 2 and 7: overlap of the top features between checkpoints."""

from pathlib import Path

import pandas as pd

from crosslens.reporting.plotting.dynamics import draw_overlap
from crosslens.reporting.plotting.style import save
from crosslens.workflow.job import run_job


def main(
    *, overlap: dict[str, Path], labels: dict[str, str], top: int, outputs: dict[str, Path]
) -> None:
    """`overlap` maps families to their overlap.csv."""
    table = pd.concat(pd.read_csv(path).assign(family=f) for f, path in overlap.items())
    save(draw_overlap(table, labels, top), table, outputs)


if __name__ == "__main__":
    families, tables = snakemake.params.families, snakemake.input.tables
    run_job(
        main,
        snakemake,
        overlap=dict(zip(families, tables, strict=True)),
        labels=snakemake.params.labels,
        top=snakemake.params.top,
        outputs=snakemake.output,
    )
