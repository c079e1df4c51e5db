"""The training curves, under the same names whichever engine ran."""

import json
from pathlib import Path

import pandas as pd

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


def verl_curves(log: Path) -> pd.DataFrame:
    """One row a step from verl's file logger: {"step": ..., "data": {...}} a line."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return pd.DataFrame(
        [{"step": r["step"], **{k: r["data"].get(v) for k, v in VERL.items()}} for r in lines]
    )


def trl_curves(history: list[dict]) -> pd.DataFrame:
    """One row a step from TRL's log; the updates of a step are averaged."""
    rows = [{"step": h["step"], **{k: h.get(v) for k, v in TRL.items()}} for h in history]
    return pd.DataFrame([row for row in rows if row["reward"] is not None])
