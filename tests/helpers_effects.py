"""Rows as effects.csv has them, for tests of what is reported of them."""

from typing import Any


def effect_row(
    features: str, kind: str, draw: int, change: float, *, count: int = 2, **changes: Any
) -> dict[str, Any]:
    """One arm of the paper's design on SciQ: its change on 20 critical samples of 60 questions."""
    return {
        "replicate": 0,
        "target": "rl",
        "design": "paper",
        "features": features,
        "kind": kind,
        "dose": "set 0",
        "draw": draw,
        "size": 0.1,
        "task": "sciq",
        "n_features": count,
        "questions": 60,
        "won": 1,
        "lost": 4,
        "net": -5.0,
        "n_samples": 20,
        "critical_change": change,
        "critical_ci_low": change - 5,
        "critical_ci_high": change + 5,
    } | changes
