"""Scores of several kinds, thresholds, intersections and overlaps, by worked numbers."""

import numpy as np
import pytest

from crosslens.analysis.critical_samples import CELLS
from crosslens.analysis.feature_scores import READOUTS, Scores, splits_of
from crosslens.analysis.feature_selection import (
    consistent,
    intersection,
    majority,
    overlap,
    select,
    select_all,
    task_scores,
    topped_up,
)


def scores_of(differences: dict[str, list[float]], norm: float = 1.0) -> Scores:
    """One task and one feature: f^RL - f^base on the questions of each cell, all in half A."""
    shape = (len(READOUTS), 1, 2, len(CELLS), 1)
    gain, count = np.zeros(shape), np.zeros(shape[1:-1], dtype=int)
    for cell, values in differences.items():
        gain[:, 0, 0, CELLS.index(cell), 0] = sum(values)
        count[0, 0, CELLS.index(cell)] = len(values)
    flat = np.zeros((1, 2, 1))
    norms = np.full((3, 1), norm)
    units = np.zeros((4, 1))
    return Scores(gain, gain, gain[0], flat, flat, flat, count, units, units, norms)


ALL = splits_of(["t"])["all"]


def test_a_feature_that_rl_raises_everywhere_has_no_contrast() -> None:
    raised = scores_of({"won": [1, 3], "both_right": [2, 2], "lost": [2], "both_wrong": [2, 2]})
    for kind in ("contribution", *CELLS[1:]):
        assert task_scores(raised, kind, ALL, "branch").item() == 2
    assert task_scores(raised, "contrast", ALL, "branch").item() == 0
    only = scores_of({"won": [1, 3], "both_right": [0, 0], "lost": [0], "both_wrong": [0, 0]})
    assert task_scores(only, "contrast", ALL, "branch").item() == 2


def test_the_papers_score_ignores_the_norm_and_contributions_do_not() -> None:
    found = scores_of({"won": [1, 3]}, norm=5.0)
    assert task_scores(found, "paper", ALL, "branch").item() == 2
    assert task_scores(found, "contribution", ALL, "branch").item() == 10


def test_a_split_counts_its_own_questions_only() -> None:
    found = scores_of({"won": [1, 3]})
    assert task_scores(found, "paper", splits_of(["t"])["A"], "branch").item() == 2
    assert np.isnan(task_scores(found, "paper", splits_of(["t"])["B"], "branch")).all()


def test_selection_is_above_a_share_of_the_maximum() -> None:
    assert select(np.array([1.0, 0.2, 0.21, -3.0]), 0.2) == [0, 2]
    assert select(np.array([-1.0, 0.0]), 0.2) == []
    assert select(np.array([np.nan, np.nan]), 0.2) == []


def test_intersection_and_majority() -> None:
    selected = {"a": [1, 2, 3], "b": [2, 3], "c": [3, 4]}
    assert intersection(selected) == [3]
    assert majority(selected) == [2, 3]


def test_the_next_best_follow_the_intersection() -> None:
    scores = np.array([[10.0, 5.0, 1.0, 9.0, -1.0], [1.0, 0.5, 0.15, 0.05, 9.9]])
    assert intersection({"a": select(scores[0], 0.04), "b": select(scores[1], 0.04)}) == [0, 1]
    assert consistent(scores, set(), 5) == [0, 1, 2, 3]  # .1, .05, .015, .005; the last below 0
    assert consistent(scores, {0, 1}, 1) == [2]
    assert consistent(np.array([[np.nan, np.nan], [1.0, 2.0]]), set(), 2) == []


def test_overlap_of_two_sets() -> None:
    assert overlap([1, 2, 3], [2, 3, 4, 5]) == {"jaccard": 2 / 5, "share": 2 / 3}


def test_a_small_set_is_topped_up_by_the_most_consistent() -> None:
    scores = np.array([[10.0, 5.0, 1.0, 0.0], [10.0, 1.0, 3.0, 4.0]])
    assert topped_up(scores, [0], least=1) == [0] == topped_up(scores, [0], least=0)
    assert topped_up(scores, [0], least=2) == [0, 1], "a tie goes to the first"
    assert topped_up(scores, [], least=1) == [0]
    assert topped_up(scores, [0], least=4) == [0, 1, 2], "feature 3 has no score in one task"
    nothing = np.array([[10.0, 5.0], [np.nan, np.nan]])
    assert topped_up(nothing, [], least=3) == [], "a task without samples"


def test_an_empty_intersection_is_a_result_with_its_numbers() -> None:
    scores = np.array([[1.0, 0.0, 0.1], [0.0, 2.0, 0.1], [np.nan] * 3])
    found = select_all(scores, ["a", "b", "c"], 0.2)
    assert found["intersection"] == [] and found["majority"] == []
    assert found["tasks"]["c"] == {"max_score": None, "selected": []}
    assert found["overlap"][0] == {"a": "a", "b": "b", "jaccard": 0.0, "share": 0.0}


@pytest.mark.parametrize("factor", [2.0, 10.0])
def test_contributions_do_not_depend_on_the_gauge(factor: float) -> None:
    before = scores_of({"won": [1, 3], "lost": [1]}, norm=2.0)
    after = scores_of({"won": [factor, 3 * factor], "lost": [factor]}, norm=2.0 / factor)
    for kind in ("contribution", "contrast", "lost", "sft"):
        values = [task_scores(s, kind, ALL, "branch").item() for s in (before, after)]
        assert values[0] == pytest.approx(values[1])
    assert task_scores(after, "paper", ALL, "branch").item() == 2 * factor
