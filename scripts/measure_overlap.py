"""Measure overlaps: of top features between checkpoints, and of crosscoders with autoencoders."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from crosslens.analysis.difference_features import Matches, match_differences
from crosslens.analysis.feature_table import alive_features
from crosslens.analysis.specificity import (
    index_overlap,
    l1_norms,
    matched_overlap,
    overlap_in_one,
    overlap_table,
    top_features,
)
from crosslens.config.crosscoder_design import base_name, parts_of
from crosslens.config.study_design import N_CHECKPOINTS
from crosslens.crosscoder.model import Crosscoder, read_decoder
from crosslens.io.records import write_csv
from crosslens.workflow.job import run_job

TUNED = 1  # the tuned model's place in a pair


def tuned_decoder(directory: Path) -> torch.Tensor:
    """Return W_dec [d_sparse, d_model] of the tuned model."""
    return read_decoder(directory / "crosscoder.safetensors")[1][TUNED]


def overlaps(
    paradigm: str, nrn: pd.DataFrame, root: Path, count: int, match_cosine: float
) -> pd.DataFrame:
    """Return the overlaps of one paradigm, and of two replicates of its last checkpoint."""
    pairs = nrn[nrn["crosscoder"].str.fullmatch(rf"{paradigm}-\d")]
    groups = pairs.groupby(["crosscoder", "replicate"])
    tops = {key: top_features(g, count) for key, g in groups}
    decoders = {(name, r): tuned_decoder(root / f"{name}-r{r}") for name, r in tops}
    main = {int(name.rpartition("-")[2]): name for name, replicate in tops if replicate == 0}
    table = overlap_table(
        {c: tops[name, 0] for c, name in main.items()},
        {c: decoders[name, 0] for c, name in main.items()},
        paradigm,
        match_cosine,
    )
    first, rows = (main[N_CHECKPOINTS], 0), []
    for other in (key for key in tops if key[1] > 0):
        vectors = [decoders[key][tops[key]] for key in (first, other)]
        same = (paradigm, N_CHECKPOINTS, N_CHECKPOINTS)
        rows.append((*same, "replicate_index", index_overlap(tops[first], tops[other])))
        rows.append((*same, "replicate_matched", matched_overlap(*vectors, match_cosine)))
    return pd.concat([table, pd.DataFrame(rows, columns=table.columns)])


def overlaps_in_one(path: Path, count: int) -> pd.DataFrame:
    """Return overlaps within a crosscoder of base and all checkpoints, and their null."""
    models, W_dec = read_decoder(path)
    return overlap_in_one(models, l1_norms(W_dec), alive_features(path.parent), count)


def matches(path: Path, nrn: pd.DataFrame, count: int, match_cosine: float) -> dict[str, Any]:
    """Match features of differences with those of the crosscoder of the same two models."""
    name = parts_of(base_name(path.parent.name))[0]
    own = nrn[(nrn["crosscoder"] == name) & (nrn["replicate"] == 0)].sort_values("feature")
    counts = match_differences(
        Crosscoder.load(path.parent.with_name(f"{name}-r0") / path.name),
        own["nrn_star"].to_numpy(),
        own["alive"].to_numpy() == 1,
        Crosscoder.load(path),
        alive_features(path.parent),
        count,
        match_cosine,
    )
    return {"crosscoder": name} | counts._asdict()


def main(
    *,
    nrn: Path,
    root: Path,
    together: list[Path],
    differences: list[Path],
    count: int,
    match_cosine: float,
    overlap_out: Path,
    differences_out: Path,
) -> None:
    """Write overlap.csv for both paradigms, and differences.csv."""
    table = pd.read_csv(nrn)
    parts = [overlaps(p, table, root, count, match_cosine) for p in ("sft", "rl")]
    parts += [overlaps_in_one(path, count) for path in together]
    write_csv(overlap_out, pd.concat(parts))
    rows = [matches(path, table, count, match_cosine) for path in differences]
    write_csv(differences_out, pd.DataFrame(rows, columns=["crosscoder", *Matches._fields]))


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        nrn=snakemake.input.nrn,
        root=Path(snakemake.input.pairs[0]).parent.parent,
        together=snakemake.input.together,
        differences=snakemake.input.differences,
        count=snakemake.params.top,
        match_cosine=snakemake.params.match_cosine,
        overlap_out=snakemake.output.overlap,
        differences_out=snakemake.output.differences,
    )
