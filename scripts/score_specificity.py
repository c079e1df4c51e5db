"""Compute NRN and NRN* for every two-model crosscoder, MAS and MAS* for every trio, and tails."""

from pathlib import Path

import pandas as pd

from crosslens.analysis.specificity import l1_norms, mas, nrn
from crosslens.analysis.tails import shares_of_pairs, shares_of_trios, tail_table
from crosslens.crosscoder.model import Crosscoder
from crosslens.io.records import write_csv
from crosslens.workflow.job import run_job

THRESHOLDS = (0.6, 0.7, 0.8, 0.9)  # of tails
FEATURE_COLUMNS = ["crosscoder", "replicate", "feature", "alive", "pattern"]  # of features.csv


def features_of(directory: Path) -> pd.DataFrame:
    """Read the table of the features of the crosscoder in a directory, and name the crosscoder."""
    name, _, replicate = directory.name.rpartition("-r")
    table = pd.read_csv(directory / "features.csv")
    table.insert(0, "crosscoder", name)
    table.insert(1, "replicate", int(replicate))
    return table


def nrn_table(directory: Path) -> pd.DataFrame:
    """Return NRN of one pair's features, as trained and with the models' scales, and NRN*.

    The table also has the R^2 by which a feature is decoded from each model.
    """
    crosscoder = Crosscoder.load(directory / "crosscoder.safetensors")
    W_dec = crosscoder.W_dec.detach()
    features = features_of(directory)
    table = features[FEATURE_COLUMNS].copy()
    table["nrn"] = nrn(l1_norms(W_dec)).numpy()
    table["nrn_folded"] = nrn(l1_norms(crosscoder.directions())).numpy()
    table["nrn_star"] = features[f"share_{crosscoder.models[1]}"]
    for name, model in zip(("base", "tuned"), crosscoder.models, strict=True):
        table[f"r2_{name}"] = features[f"r2_{model}"]
    return table


def mas_table(directory: Path) -> pd.DataFrame:
    """Return MAS of one trio's features, as trained and with the models' scales, and MAS*."""
    crosscoder = Crosscoder.load(directory / "crosscoder.safetensors")
    W_dec = crosscoder.W_dec.detach()
    features = features_of(directory)
    table = features[FEATURE_COLUMNS].copy()
    scores, folded = mas(l1_norms(W_dec)), mas(l1_norms(crosscoder.directions()))
    for i, name in enumerate(["base", "sft", "rl"]):
        table[f"mas_{name}"] = scores[i].numpy()
        table[f"mas_{name}_folded"] = folded[i].numpy()
        table[f"mas_{name}_star"] = features[f"share_{crosscoder.models[i]}"]
    return table


def main(
    *, pairs: list[Path], trios: list[Path], nrn_out: Path, mas_out: Path, tails: Path
) -> None:
    """Write nrn.csv, mas.csv and tails.csv."""
    of_pairs = pd.concat([nrn_table(path.parent) for path in pairs])
    of_trios = pd.concat([mas_table(path.parent) for path in trios])
    write_csv(nrn_out, of_pairs)
    write_csv(mas_out, of_trios)
    shares = [*shares_of_pairs(of_pairs), *shares_of_trios(of_trios)]
    write_csv(tails, tail_table(shares, THRESHOLDS))


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        pairs=snakemake.input.pairs,
        trios=snakemake.input.trios,
        nrn_out=snakemake.output.nrn,
        mas_out=snakemake.output.mas,
        tails=snakemake.output.tails,
    )
