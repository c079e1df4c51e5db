"""The training curves, under the same names whichever engine ran."""

import pandas as pd

from crosslens.io.errors import InputError

VERL = {
    "reward": "critic/rewards/mean",
    "response_length": "response_length/mean",
    "clip_fraction": "actor/pg_clipfrac",
    "entropy": "actor/entropy",
    "grad_norm": "actor/grad_norm",
    "seconds": "timing_s/step",
}
TRL = {
    "reward": "reward",
    "response_length": "completions/mean_length",
    "clip_fraction": "clip_ratio/region_mean",
    "entropy": "entropy",
    "grad_norm": "grad_norm",
    "seconds": "step_time",
}


def verl_curves(lines: list[dict]) -> pd.DataFrame:
    """One row a step from the lines of verl's file logger: {"step": ..., "data": {...}}.

    Raises InputError when verl did not log one of the curves.
    """
    return curves([{"step": line["step"], **line["data"]} for line in lines], VERL)


def trl_curves(history: list[dict]) -> pd.DataFrame:
    """One row a step of ours from TRL's log, which averages the updates of a step.

    Raises InputError when TRL did not log one of the curves.
    """
    lines = [line for line in history if TRL["reward"] in line]  # the last one sums up the run
    return curves([line | {"step": step} for step, line in enumerate(lines, 1)], TRL)


def curves(lines: list[dict], names: dict[str, str]) -> pd.DataFrame:
    """Our columns from an engine's; a column that the engine does not have is an InputError."""
    if missing := [name for name in names.values() if not all(name in line for line in lines)]:
        raise InputError(f"grpo: the engine did not log {missing[0]}: is its version another one?")
    columns = {"step": "step"} | names
    return pd.DataFrame([{ours: line[its] for ours, its in columns.items()} for line in lines])
