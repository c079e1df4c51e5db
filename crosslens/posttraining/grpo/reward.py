"""The outcome reward: 1 for a right final answer, 0 otherwise, by the project's one grader.

verl loads this file by its path and calls `compute_score` by keyword. Each process that does so
leaves a mark; without one the run fails: this reward was then never asked. That no other one is
configured beside it is checked before (`config.backend_options`).
"""

import os
from pathlib import Path
from typing import Any

from crosslens.data.grading import is_correct

MARK = "CROSSLENS_REWARD_MARK"  # the file whose existence says that this reward was called


def reward(response: str, gold: str) -> float:
    """1.0 for a right final answer, else 0.0."""
    if mark := os.environ.get(MARK):
        Path(mark).touch()
    return float(is_correct(response, gold))


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: dict | None = None,
    **_: Any,
) -> float:
    """verl's contract."""
    return reward(solution_str, ground_truth)


def trl_reward(completions: list, ground_truth: list[str], **_: Any) -> list[float]:
    """TRL's contract: completions are conversations of one assistant turn."""
    texts = [turns[0]["content"] if isinstance(turns, list) else turns for turns in completions]
    return [reward(text, gold) for text, gold in zip(texts, ground_truth, strict=True)]
