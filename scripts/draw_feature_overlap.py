"""Figure 4: overlap of the tasks' generalization features."""

from pathlib import Path

import pandas as pd

from crosslens.io.records import read_json
from crosslens.reporting.plotting.features import draw_feature_overlap, overlap_rows
from crosslens.reporting.plotting.style import save
from crosslens.workflow.job import run_job


def main(
    *,
    features: dict[str, Path],
    tasks: list[str],
    labels: dict[str, str],
    outputs: dict[str, Path],
) -> None:
    """`features` maps families to their features.json."""
    found = {family: read_json(path) for family, path in features.items()}
    table = pd.concat(overlap_rows(f, family) for family, f in found.items())
    common = {family: len(f["intersection"]) for family, f in found.items()}
    save(draw_feature_overlap(table, tasks, labels, common), table, outputs)


if __name__ == "__main__":
    families, tables = snakemake.params.families, snakemake.input.tables
    run_job(
        main,
        snakemake,
        features=dict(zip(families, tables, strict=True)),
        tasks=snakemake.params.tasks,
        labels=snakemake.params.labels,
        outputs=snakemake.output,
    )
