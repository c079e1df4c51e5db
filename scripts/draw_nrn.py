"""Figures 1 and 6: distributions of NRN, SFT and RL against base."""

from pathlib import Path

import pandas as pd

from crosslens.reporting.plotting.specificity import draw_nrn, nrn_counts
from crosslens.reporting.plotting.style import save


def main(*, nrn: dict[str, Path], labels: dict[str, str], outputs: dict[str, Path]) -> None:
    """`nrn` maps families to their nrn.csv."""
    counts = pd.concat(nrn_counts(pd.read_csv(path), family) for family, path in nrn.items())
    save(draw_nrn(counts, labels), counts, outputs)


if __name__ == "__main__":
    from crosslens.workflow.job import one_line

    with one_line(snakemake.log[0]):
        families, tables = snakemake.params.families, snakemake.input.tables
        main(
            nrn=dict(zip(families, map(Path, tables), strict=True)),
            labels=snakemake.params.labels,
            outputs={kind: Path(path) for kind, path in snakemake.output.items()},
        )
