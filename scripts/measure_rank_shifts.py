"""Measure rank changes of the top features between adjacent checkpoints."""

from pathlib import Path

import pandas as pd

from crosslens.analysis.feature_table import alive_features
from crosslens.analysis.specificity import (
    l1_norms,
    paradigm_of,
    rank_shifts,
    top_features,
    tops_in_one,
)
from crosslens.crosscoder.model import read_decoder
from crosslens.io.records import write_csv
from crosslens.workflow.job import run_job


def shifts_of_pairs(nrn: pd.DataFrame, paradigm: str, count: int) -> pd.DataFrame:
    """Return the rank changes between a paradigm's two-model crosscoders, with the first seed."""
    pairs = nrn[nrn["crosscoder"].str.fullmatch(rf"{paradigm}-\d") & (nrn["replicate"] == 0)]
    groups = pairs.groupby("crosscoder")
    tops = {int(name.rpartition("-")[2]): top_features(g, count) for name, g in groups}
    return rank_shifts(tops, paradigm).assign(kind="pairs")


def shifts_in_one(path: Path, count: int) -> pd.DataFrame:
    """Return the rank changes within a crosscoder of base and all checkpoints."""
    models, W_dec = read_decoder(path)
    tops = tops_in_one(models, l1_norms(W_dec), alive_features(path.parent), count)
    return rank_shifts(tops, paradigm_of(models)).assign(kind="together")


def main(*, nrn: Path, together: list[Path], count: int, out: Path) -> None:
    """Write rank-shifts.csv for both paradigms."""
    table = pd.read_csv(nrn)
    shifts = [shifts_of_pairs(table, paradigm, count) for paradigm in ("sft", "rl")]
    shifts += [shifts_in_one(path, count) for path in together]
    write_csv(out, pd.concat(shifts))


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        nrn=snakemake.input.nrn,
        together=snakemake.input.together,
        count=snakemake.params.top,
        out=snakemake.output[0],
    )
