"""Write Tables 2 to 5: effects of editing features, next to those of random sets of equal size."""

from pathlib import Path

import pandas as pd

from crosslens.io.records import read_json
from crosslens.reporting.plotting.style import save
from crosslens.reporting.plotting.tables import draw_table
from crosslens.reporting.tables import intervention_cells, intervention_rows, of_model
from crosslens.workflow.job import run_job


def main(
    *,
    interventions: dict[str, Path],
    target: str,
    number: int,
    title: str,
    tasks: list[str],
    labels: dict[str, str],
    paper: Path,
    outputs: dict[str, Path],
) -> None:
    """Write one of Tables 2 to 5. `interventions` maps families to their effects.csv."""
    effects = {f: of_model(pd.read_csv(path), target) for f, path in interventions.items()}
    rows = intervention_rows(effects, tasks, labels, read_json(paper)[f"table{number}"])
    cells, rules = intervention_cells(rows, tasks)
    save(draw_table(cells, title, rules), rows, outputs)


if __name__ == "__main__":
    families, tables = snakemake.params.families, snakemake.input.tables
    run_job(
        main,
        snakemake,
        interventions=dict(zip(families, tables, strict=True)),
        target=snakemake.params.target,
        number=snakemake.wildcards.number,
        title=snakemake.params.title,
        tasks=snakemake.params.tasks,
        labels=snakemake.params.labels,
        paper=snakemake.input.paper,
        outputs=snakemake.output,
    )
