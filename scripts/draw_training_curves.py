"""Draw the training curves of SFT, of GRPO or of the crosscoders."""

from pathlib import Path

import pandas as pd

from crosslens.reporting.plotting.curves import draw_crosscoders, draw_grpo, draw_sft
from crosslens.reporting.plotting.style import save
from crosslens.workflow.job import run_job

DRAW = {"sft-loss": draw_sft, "grpo-curves": draw_grpo, "crosscoder-training": draw_crosscoders}


def read(path: Path, curves: str) -> pd.DataFrame:
    """Read a table of curves, and add the names from its path as columns."""
    table = pd.read_csv(path)
    if curves != "crosscoder-training":
        return table.assign(family=path.parent.name)
    name, _, replicate = path.parent.name.rpartition("-r")
    return table.assign(family=path.parents[1].name, crosscoder=name, replicate=int(replicate))


def main(
    *, tables: list[Path], curves: str, labels: dict[str, str], outputs: dict[str, Path]
) -> None:
    """Draw all tables of one kind into one figure."""
    table = pd.concat(read(path, curves) for path in tables)
    save(DRAW[curves](table, labels), table, outputs)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        tables=snakemake.input.tables,
        curves=snakemake.wildcards.curves,
        labels=snakemake.params.labels,
        outputs=snakemake.output,
    )
