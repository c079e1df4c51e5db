"""Measure a trained crosscoder on the held-out shard and write it in its final form."""

from pathlib import Path

import pandas as pd
import torch

from crosslens.activations.shard_reader import ShardReader
from crosslens.crosscoder.training import Quality, evaluate, load_trained
from crosslens.io.records import write_csv, write_json


def feature_table(rate: torch.Tensor, threshold: float) -> pd.DataFrame:
    """One row a feature: firing rate, and whether it is alive."""
    alive = (rate > threshold).int().numpy()
    return pd.DataFrame({"feature": range(len(rate)), "rate": rate.numpy(), "alive": alive})


def summary(quality: Quality, table: pd.DataFrame, metadata: dict) -> dict:
    """The numbers of quality.json; `tokens_seen` counts a token once for each pass."""
    alive = int(table["alive"].sum())
    return {
        "fve": quality.fve,
        "l0": quality.l0,
        "loss": quality.loss,
        "alive": alive,
        "dead_share": 1 - alive / len(table),
        "tokens_seen": metadata["tokens_seen"],
        "distinct_tokens": metadata["distinct_tokens"],
        "heldout_rows": quality.rows,
    }


def main(
    *,
    state: Path,
    heldout: list[Path],
    logs: list[Path],
    settings: dict,
    threshold: float,
    crosscoder: Path,
    quality: Path,
    features: Path,
    training: Path,
) -> None:
    """Write the crosscoder, its quality, its features and its whole training log."""
    torch.set_num_threads(1)
    trained, step = load_trained(state)
    with ShardReader(heldout) as reader:
        measured = evaluate(trained, reader, settings["batch_size"], settings["beta"])
    trained.metadata |= {"tokens_seen": step * settings["batch_size"], "config": settings}
    table = feature_table(measured.rate, threshold)
    write_csv(features, table)
    write_csv(training, pd.concat([pd.read_csv(log) for log in logs]))
    write_json(quality, summary(measured, table, trained.metadata))
    trained.save(crosscoder)


if __name__ == "__main__":
    from crosslens.workflow.gpu_locks import hold
    from crosslens.workflow.job import one_line

    with one_line(snakemake.log[0]), hold(snakemake.resources.gpu):
        main(
            state=Path(snakemake.input.state),
            heldout=[Path(path) for path in snakemake.input.heldout],
            logs=[Path(path) for path in snakemake.input.logs],
            settings=snakemake.params.crosscoder,
            threshold=snakemake.params.threshold,
            **{name: Path(path) for name, path in snakemake.output.items()},
        )
