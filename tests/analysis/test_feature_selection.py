"""Thresholds, intersections and control sets, by worked numbers."""

import pandas as pd
import pytest

from crosslens.analysis.feature_selection import (
    controls,
    feature_sets,
    intersection,
    majority,
    of_size,
    overlap,
    select,
    select_all,
)


def test_selection_is_above_a_share_of_the_maximum() -> None:
    scores = pd.Series([1.0, 0.2, 0.21, -3.0])
    assert select(scores, 0.2) == [0, 2]
    assert select(pd.Series([-1.0, 0.0]), 0.2) == []
    assert select(pd.Series(dtype=float), 0.2) == []


def test_intersection_and_majority() -> None:
    selected = {"a": [1, 2, 3], "b": [2, 3], "c": [3, 4]}
    assert intersection(selected) == [3]
    assert majority(selected) == [2, 3]


def test_overlap_of_two_sets() -> None:
    assert overlap([1, 2, 3], [2, 3, 4, 5]) == {"jaccard": 2 / 5, "share": 2 / 3}


def test_controls_avoid_the_selected_and_repeat_with_the_seed() -> None:
    sets = controls(list(range(20)), {0, 1, 2}, 4, 5, seed=7)
    assert len(sets) == 5 and all(len(set(s)) == 4 for s in sets)
    assert not {0, 1, 2} & {f for s in sets for f in s}
    assert sets == controls(list(range(20)), {0, 1, 2}, 4, 5, seed=7)


def test_no_two_controls_begin_alike_while_the_pool_has_others() -> None:
    for pool, count in ((12, 12), (4, 4)):
        draws = controls(list(range(pool)), set(), 2, count, seed=3)
        assert sorted(draw[0] for draw in draws) == list(range(pool))
        assert all(len(set(draw)) == 2 for draw in draws)
    alone = controls(list(range(4)), set(), 1, 5, seed=3)
    assert len(alone) == 5 and {f for draw in alone for f in draw} == set(range(4))


def scores_of(**tasks: list[float]) -> pd.DataFrame:
    rows = [
        {"task": t, "feature": k, "score": s, "rl_rate": 1.0}
        for t, scores in tasks.items()
        for k, s in enumerate(scores)
    ]
    return pd.DataFrame(rows, columns=["task", "feature", "score", "rl_rate"])


def test_an_empty_intersection_is_a_result_with_its_numbers() -> None:
    table = scores_of(a=[1.0, 0.0, 0.0, 0.1], b=[0.0, 2.0, 0.0, 0.1])
    found = select_all(
        table, ["a", "b", "c"], 0.2, alive=[0, 1, 2, 3], active_rate=0.1, random_sets=5, seed=0
    )
    assert found["intersection"] == [] and found["majority"] == []
    assert "a 1 (maximum score 1)" in found["why_empty"]
    assert "c 0 (no critical sample)" in found["why_empty"]
    sets = feature_sets(found, ["a", "b"])
    kinds = [s.kind for s in sets]
    drawn = [s.features for s in sets if s.kind == "random_alive"]
    assert sorted(drawn) == [[2], [3]], "two features to draw from: no more than two controls"
    assert kinds.count("per_task") == 2


def test_controls_avoid_whatever_some_task_selected() -> None:
    table = scores_of(a=[1.0, 0.0, 0.0, 0.1], b=[0.0, 2.0, 0.0, 0.1])
    found = select_all(
        table, ["a", "b"], 0.2, alive=[0, 1, 2, 3], active_rate=0.1, random_sets=5, seed=0
    )
    drawn = {f for sets in found["controls"].values() for s in sets for f in s}
    assert found["intersection"] == [] and drawn <= {2, 3}
    assert found["pools"] == {"alive": 2, "active": 2}


@pytest.mark.parametrize(("pool", "sets"), [(0, 0), (2, 0), (3, 1), (4, 4)])
def test_a_control_has_the_full_size_and_counts_once(pool: int, sets: int) -> None:
    draws = controls(list(range(pool)), set(), 3, 60, seed=0)
    found = of_size(draws, 3)
    assert len(found) == sets == len({frozenset(draw) for draw in found})
    assert all(len(draw) == 3 for draw in found)


def test_every_set_has_controls_of_its_size_on_its_tasks() -> None:
    a, b = [1.0, 1.0, 0] + 60 * [0], [1.0, 1.0, 1.0] + 60 * [0]
    found = select_all(scores_of(a=a, b=b), ["a", "b"], 0.2, list(range(63)), 0.1, 5, seed=0)
    assert found["intersection"] == [0, 1]
    sets = feature_sets(found, ["a", "b", "unseen"])
    drawn = [s for s in sets if s.kind == "random_alive"]
    assert [(s.size, s.tasks) for s in drawn] == 5 * [(2, ["a", "b", "unseen"])] + 5 * [(3, ["b"])]
    assert all(len(s.features) == s.size and not {0, 1, 2} & {*s.features} for s in drawn)
    small, large = drawn[0], drawn[5]
    assert small.features == large.features[:2], "one draw serves every size"
