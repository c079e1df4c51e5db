"""Figures 3 and 5: distributions of MAS over base, SFT and RL."""

from pathlib import Path

import pandas as pd

from crosslens.reporting.plotting.specificity import draw_mas, mas_counts
from crosslens.reporting.plotting.style import save
from crosslens.workflow.job import run_job


def main(*, mas: Path, family: str, labels: dict[str, str], outputs: dict[str, Path]) -> None:
    """One family's mas.csv."""
    counts = mas_counts(pd.read_csv(mas).query("replica == 0"), family)
    save(draw_mas(counts, labels), counts, outputs)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        mas=snakemake.input.tables[0],
        family=snakemake.params.families[0],
        labels=snakemake.params.labels,
        outputs=snakemake.output,
    )
