"""Read training curves under the same names from either backend's log."""

import pandas as pd

from crosslens.io.errors import InputError

VERL_COLUMNS = {
    "reward": "critic/rewards/mean",
    "response_length": "response_length/mean",
    "clip_fraction": "actor/pg_clipfrac",
    "entropy": "actor/entropy",
    "grad_norm": "actor/grad_norm",
    "seconds": "timing_s/step",
}
TRL_COLUMNS = {
    "reward": "reward",
    "response_length": "completions/mean_length",
    "clip_fraction": "clip_ratio/region_mean",
    "entropy": "entropy",
    "grad_norm": "grad_norm",
    "seconds": "step_time",
}


def verl_curves(lines: list[dict]) -> pd.DataFrame:
    """Return one row per step from verl's file logger, whose lines have `step` and `data`.

    Raises InputError when verl did not log one of the curves.
    """
    return rename_columns([{"step": line["step"], **line["data"]} for line in lines], VERL_COLUMNS)


def trl_curves(history: list[dict]) -> pd.DataFrame:
    """Return one row per batch of rollouts from TRL's log, which averages the updates on it.

    Raises InputError when TRL did not log one of the curves.
    """
    lines = [
        line for line in history if TRL_COLUMNS["reward"] in line
    ]  # the last line is a summary
    return rename_columns(
        [line | {"step": step} for step, line in enumerate(lines, 1)], TRL_COLUMNS
    )


def rename_columns(lines: list[dict], names: dict[str, str]) -> pd.DataFrame:
    """Return a backend's columns under our names. Raises InputError when one is missing."""
    if missing := [name for name in names.values() if not all(name in line for line in lines)]:
        raise InputError(
            f"grpo.engine: the backend's log has no {missing[0]}. Use the version pinned in envs/."
        )
    columns = {"step": "step"} | names
    return pd.DataFrame(
        [{ours: line[theirs] for ours, theirs in columns.items()} for line in lines]
    )
