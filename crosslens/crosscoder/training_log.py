"""Read one crosscoder's training log, and its L0, from the logs of its group."""

from pathlib import Path

import pandas as pd


def read_log(histories: list[Path], name: str) -> pd.DataFrame:
    """Return one crosscoder's log over shards, in their order, with the columns of its models.

    `histories` are the logs that `train_crosscoders` writes of a group, one for each shard.
    """
    log = pd.concat(map(pd.read_csv, histories))
    return log[log["crosscoder"] == name].drop(columns="crosscoder").dropna(axis=1, how="all")


def l0_by_step(histories: list[Path], name: str | None) -> list[tuple[int, float]]:
    """Return steps from 0 (logs count from 1) with their L0; an empty list without a name."""
    if name is None:
        return []
    log = read_log(histories, name)
    return list(zip(log["step"] - 1, log["l0"], strict=True))
