"""Compute the outcome reward: 1 for a correct final answer, else 0, by the project's grader.

verl loads this file by its path and calls `compute_score` by keyword. Each call creates a marker
file; without it the run fails, as a different reward was used. `config.sections.GRPOConfig` checks
beforehand that no other reward is configured.
"""

import os
from pathlib import Path
from typing import Any

from crosslens.data.grading import is_correct

MARK = "CROSSLENS_REWARD_MARK"  # names the marker file


def reward(response: str, gold: str) -> float:
    """Return 1.0 for a correct final answer, else 0.0."""
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
    """Return the reward, with verl's signature."""
    return reward(solution_str, ground_truth)


def trl_reward(completions: list, ground_truth: list[str], **_: Any) -> list[float]:
    """Return the rewards, with TRL's signature; completions have one assistant turn each."""
    texts = [turns[0]["content"] if isinstance(turns, list) else turns for turns in completions]
    return [reward(text, gold) for text, gold in zip(texts, ground_truth, strict=True)]
