"""Figures 8 to 13: rank shifts of the top features between adjacent checkpoints."""

from pathlib import Path

import pandas as pd

from crosslens.reporting.plotting.dynamics import draw_rank_shifts
from crosslens.reporting.plotting.style import save
from crosslens.workflow.job import run_job


def main(
    *,
    shifts: Path,
    label: str,
    paradigm: str,
    top: int,
    checkpoints: int,
    outputs: dict[str, Path],
) -> None:
    """One family's rank-shifts.csv, one paradigm of it."""
    table = pd.read_csv(shifts)
    table = table[table["paradigm"] == paradigm]
    save(draw_rank_shifts(table, label, paradigm, top, checkpoints), table, outputs)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        shifts=snakemake.input.tables[0],
        label=snakemake.params.labels[snakemake.params.families[0]],
        paradigm=snakemake.params.paradigm,
        top=snakemake.params.top,
        checkpoints=snakemake.params.checkpoints,
        outputs=snakemake.output,
    )
