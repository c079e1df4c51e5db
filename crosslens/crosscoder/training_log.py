"""Read the training log of one crosscoder from those of its group."""

from pathlib import Path

import pandas as pd


def read_log(histories: list[Path], name: str) -> pd.DataFrame:
    """Return one crosscoder's log over shards, in their order, with the columns of its models.

    `histories` are the logs that `train_crosscoders` writes of a group, one for each shard.
    """
    log = pd.concat(map(pd.read_csv, histories))
    return log[log["crosscoder"] == name].drop(columns="crosscoder").dropna(axis=1, how="all")
