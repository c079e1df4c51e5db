"""Draw one figure from the results of its families."""

from pathlib import Path
from typing import Any

from crosslens.reporting.figures import FigureData, draw
from crosslens.reporting.plotting.style import save
from crosslens.workflow.job import run_job


def main(
    *,
    figure: dict[str, Any],
    sources: dict[str, list[Path]],
    labels: dict[str, str],
    tasks: list[str],
    top: int,
    outputs: dict[str, Path],
) -> None:
    """Write a figure and its source data; `sources` maps families to the results to draw."""
    drawing, paradigm, checkpoints = (figure[k] for k in ("drawing", "paradigm", "checkpoints"))
    data = FigureData(sources, labels, tasks, top, paradigm or "", checkpoints)
    drawn, table = draw(drawing, data)
    save(drawn, table, outputs)


if __name__ == "__main__":
    families, sources = snakemake.params.families, snakemake.input.sources
    n = len(sources) // len(families)  # files of each family, one family after the other
    run_job(
        main,
        snakemake,
        figure=snakemake.params.figure,
        sources={family: sources[i * n : (i + 1) * n] for i, family in enumerate(families)},
        labels=snakemake.params.labels,
        tasks=snakemake.params.tasks,
        top=snakemake.params.top,
        outputs=snakemake.output,
    )
