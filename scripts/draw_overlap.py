"""Figures 2 and 7: overlap of the top features between checkpoints."""

from pathlib import Path

import pandas as pd

from crosslens.reporting.plotting.dynamics import draw_overlap
from crosslens.reporting.plotting.style import save


def main(
    *, overlap: dict[str, Path], labels: dict[str, str], top: int, outputs: dict[str, Path]
) -> None:
    """`overlap` maps families to their overlap.csv."""
    table = pd.concat(pd.read_csv(path).assign(family=f) for f, path in overlap.items())
    save(draw_overlap(table, labels, top), table, outputs)


if __name__ == "__main__":
    from crosslens.workflow.job import one_line

    with one_line(snakemake.log[0]):
        families, tables = snakemake.params.families, snakemake.input.tables
        main(
            overlap=dict(zip(families, map(Path, tables), strict=True)),
            labels=snakemake.params.labels,
            top=snakemake.params.top,
            outputs={kind: Path(path) for kind, path in snakemake.output.items()},
        )
