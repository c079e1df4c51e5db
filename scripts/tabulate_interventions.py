"""Tables 2 to 5: effect of editing features, beside random sets of equal size."""

from pathlib import Path

import pandas as pd

from crosslens.io.records import read_json
from crosslens.reporting.plotting.style import save
from crosslens.reporting.plotting.tables import draw_table
from crosslens.reporting.tables import intervention_cells, intervention_rows


def main(
    *,
    interventions: dict[str, Path],
    number: int,
    tasks: list[str],
    labels: dict[str, str],
    paper: dict,
    outputs: dict[str, Path],
) -> None:
    """`interventions` maps families to the CSV of one target."""
    found = {family: pd.read_csv(path) for family, path in interventions.items()}
    rows = intervention_rows(found, tasks, labels, paper[f"table{number}"])
    cells, rules = intervention_cells(rows, tasks)
    what = "zeroing features in RL" if number in (2, 4) else "amplifying features in base"
    where = "critical samples" if number in (2, 3) else "critical samples of unseen tasks"
    title = f"Table {number}. Change in points of accuracy on {where} by {what}."
    save(draw_table(cells, title, rules), rows, outputs)


if __name__ == "__main__":
    from crosslens.workflow.job import one_line

    with one_line(snakemake.log[0]):
        families, tables = snakemake.params.families, snakemake.input.tables
        main(
            interventions=dict(zip(families, map(Path, tables), strict=True)),
            number=int(snakemake.wildcards.number),
            tasks=snakemake.params.tasks,
            labels=snakemake.params.labels,
            paper=read_json(snakemake.input.paper),
            outputs={kind: Path(path) for kind, path in snakemake.output.items()},
        )
