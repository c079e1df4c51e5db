"""Rank changes of the top features between adjacent checkpoints."""

from pathlib import Path

import pandas as pd

from crosslens.analysis.specificity import rank_shifts, top_features
from crosslens.io.records import write_csv
from crosslens.workflow.job import run_job


def main(*, nrn: Path, count: int, out: Path) -> None:
    """Write rank-shifts.csv for both paradigms."""
    table = pd.read_csv(nrn)
    table = table[table["replicate"] == 0]
    shifts = []
    for paradigm in ("sft", "rl"):
        groups = table[table["crosscoder"].str.fullmatch(rf"{paradigm}-\d")].groupby("crosscoder")
        tops = {int(name.rpartition("-")[2]): top_features(g, count) for name, g in groups}
        shifts.append(rank_shifts(tops, paradigm))
    write_csv(out, pd.concat(shifts))


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        nrn=snakemake.input.nrn,
        count=snakemake.params.top,
        out=snakemake.output[0],
    )
