"""Overlap of the top features between checkpoints, by index, by direction, with another seed."""

from itertools import combinations_with_replacement
from pathlib import Path

import pandas as pd
import torch

from crosslens.analysis.specificity import (
    index_overlap,
    l1_norms,
    matched_overlap,
    overlap_table,
    top_features,
)
from crosslens.config.study_design import N_CHECKPOINTS
from crosslens.crosscoder.model import Crosscoder
from crosslens.io.records import write_csv
from crosslens.workflow.job import run_job

TUNED = 1  # the tuned model's place in a pair


def tuned_decoder(directory: Path) -> torch.Tensor:
    """Return W_dec [d_sparse, d_model] of the tuned model."""
    return Crosscoder.load(directory / "crosscoder.safetensors").W_dec.detach()[TUNED]


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
    """Return overlaps of the top features within a crosscoder of base and all checkpoints.

    A feature has the same index in all of them. Its score for a checkpoint is the NRN of base's and
    the checkpoint's decoder vectors. Rows have the kind "together".
    """
    crosscoder = Crosscoder.load(path)
    features = pd.read_csv(path.with_name("features.csv"))[["feature", "alive"]]
    norms = l1_norms(crosscoder.W_dec.detach())
    tops = {}
    for model, row in zip(crosscoder.models[1:], norms[1:], strict=True):
        table = features.assign(nrn=(row / (row + norms[0])).numpy())
        tops[int(model.rpartition("-")[2])] = top_features(table, count)
    paradigm = crosscoder.models[1].partition("-")[0]
    pairs = combinations_with_replacement(sorted(tops), 2)
    rows = [(paradigm, a, b, "together", index_overlap(tops[a], tops[b])) for a, b in pairs]
    return pd.DataFrame(rows, columns=["paradigm", "a", "b", "kind", "overlap"])


def main(
    *, nrn: Path, root: Path, together: list[Path], count: int, match_cosine: float, out: Path
) -> None:
    """Write overlap.csv for both paradigms."""
    table = pd.read_csv(nrn)
    parts = [overlaps(p, table, root, count, match_cosine) for p in ("sft", "rl")]
    parts += [overlaps_in_one(path, count) for path in together]
    write_csv(out, pd.concat(parts))


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        nrn=snakemake.input.nrn,
        root=Path(snakemake.input.pairs[0]).parent.parent,
        together=snakemake.input.together,
        count=snakemake.params.top,
        match_cosine=snakemake.params.match_cosine,
        out=snakemake.output[0],
    )
