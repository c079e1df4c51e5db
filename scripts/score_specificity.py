"""NRN of the features of every pair and MAS of those of every trio."""

from pathlib import Path

import pandas as pd

from crosslens.analysis.specificity import fold, l1_norms, mas, nrn
from crosslens.crosscoder.model import Crosscoder
from crosslens.io.records import write_csv
from crosslens.workflow.job import run_job


def features_of(directory: Path) -> pd.DataFrame:
    """Columns crosscoder, replica, feature and alive of the crosscoder in a directory."""
    name, _, replica = directory.name.rpartition("-r")
    table = pd.read_csv(directory / "features.csv")[["feature", "alive"]]
    table.insert(0, "crosscoder", name)
    table.insert(1, "replica", int(replica))
    return table


def nrn_table(directory: Path) -> pd.DataFrame:
    """NRN of one pair's features, as trained and with the models' scales folded in."""
    crosscoder = Crosscoder.load(directory / "crosscoder.safetensors")
    W_dec = crosscoder.W_dec.detach()
    table = features_of(directory)
    table["nrn"] = nrn(l1_norms(W_dec)).numpy()
    table["nrn_folded"] = nrn(l1_norms(fold(W_dec, crosscoder.scales))).numpy()
    return table


def mas_table(directory: Path) -> pd.DataFrame:
    """MAS of one trio's features, as trained and with the models' scales folded in."""
    crosscoder = Crosscoder.load(directory / "crosscoder.safetensors")
    W_dec = crosscoder.W_dec.detach()
    table = features_of(directory)
    scores, folded = mas(l1_norms(W_dec)), mas(l1_norms(fold(W_dec, crosscoder.scales)))
    for i, name in enumerate(["base", "sft", "rl"]):
        table[f"mas_{name}"] = scores[i].numpy()
        table[f"mas_{name}_folded"] = folded[i].numpy()
    return table


def main(*, pairs: list[Path], trios: list[Path], nrn_out: Path, mas_out: Path) -> None:
    """Write nrn.csv and mas.csv."""
    write_csv(nrn_out, pd.concat([nrn_table(path.parent) for path in pairs]))
    write_csv(mas_out, pd.concat([mas_table(path.parent) for path in trios]))


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        pairs=snakemake.input.pairs,
        trios=snakemake.input.trios,
        nrn_out=snakemake.output.nrn,
        mas_out=snakemake.output.mas,
    )
