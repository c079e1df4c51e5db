"""Select generalization features by their scores, and draw the sets to compare them with.

Sections 3.2 and 7 of the paper.
"""

import random
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd


def select(scores: pd.Series, threshold: float) -> list[int]:
    """Features whose score exceeds `threshold` times the task's maximum; none if that is not
    positive. `scores` is indexed by feature. (Section 7 has 20% of the maximum.)"""
    if scores.empty or scores.max() <= 0:
        return []
    return scores.index[scores > threshold * scores.max()].tolist()


def intersection(selected: dict[str, list[int]]) -> list[int]:
    """Features selected in every task: the paper's generalization-controlling ones (3.2)."""
    return sorted(set.intersection(*map(set, selected.values())))


def majority(selected: dict[str, list[int]]) -> list[int]:
    """Features selected in more than half of the tasks."""
    counts: dict[int, int] = {}
    for features in selected.values():
        for feature in features:
            counts[feature] = counts.get(feature, 0) + 1
    return sorted(feature for feature, count in counts.items() if count > len(selected) / 2)


def overlap(a: list[int], b: list[int]) -> dict[str, float]:
    """Jaccard index of two sets, and the share of the smaller found in the other (Figure 4).

    Both in [0, 1]; NaN where a set is empty.
    """
    common, union, smaller = len({*a} & {*b}), len({*a} | {*b}), min(len(a), len(b))
    return {
        "jaccard": common / union if union else np.nan,
        "share": common / smaller if smaller else np.nan,
    }


def overlaps(selected: dict[str, list[int]]) -> list[dict]:
    """Overlap of each two tasks' sets."""
    return [
        {
            "a": a,
            "b": b,
            **{k: none_if_nan(v) for k, v in overlap(selected[a], selected[b]).items()},
        }
        for a, b in combinations(selected, 2)
    ]


def none_if_nan(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else value


def controls(pool: list[int], avoid: set[int], size: int, count: int, seed: int) -> list[list[int]]:
    """`count` random draws of `size` features of a pool, or of all that a smaller pool has.

    In random order, so that the first k of a draw are a random set of k. No two draws begin with
    the same feature while the pool has others: single features do not repeat.
    """
    rest = sorted(set(pool) - avoid)
    rng = random.Random(seed)
    firsts = (rng.sample(rest, len(rest)) * count)[: count if size else 0]
    draws = []
    for first in firsts:
        left = [feature for feature in rest if feature != first]
        draws.append([first, *rng.sample(left, min(size - 1, len(left)))])
    return draws


def explain(selected: dict[str, list[int]], scores: dict[str, pd.Series]) -> str:
    """Why the intersection is empty, with the numbers that led to it; "" when it is not."""
    if intersection(selected):
        return ""
    parts = [
        f"{task} {len(features)} (maximum score {scores[task].max():.3g})"
        if len(scores[task])
        else f"{task} 0 (no critical sample)"
        for task, features in selected.items()
    ]
    return "No feature is selected in every task. Selected: " + ", ".join(parts) + "."


def select_all(
    scores: pd.DataFrame,
    tasks: list[str],
    threshold: float,
    alive: list[int],
    active_rate: float,
    random_sets: int,
    seed: int,
) -> dict:
    """Everything one readout selects: per task, in common, and random draws of the largest size.

    `scores` has columns task, feature, score, rl_rate of one readout. Controls are drawn once from
    the alive features and once from those that fire in RL on a share of at least `active_rate` of
    the critical samples, without any that some task selected.
    """
    by_task = {t: scores[scores["task"] == t].set_index("feature")["score"] for t in tasks}
    selected = {task: select(column, threshold) for task, column in by_task.items()}
    sets = {"intersection": intersection(selected), "majority": majority(selected)}
    size = max(map(len, [*sets.values(), *selected.values()]))
    avoid = set().union(*selected.values())
    rates = scores[scores["task"].isin(tasks)].groupby("feature")["rl_rate"].mean()
    active = rates.index[rates >= active_rate].tolist()
    return {
        "tasks": {
            task: {
                "max_score": float(column.max()) if len(column) else None,
                "selected": selected[task],
            }
            for task, column in by_task.items()
        },
        **sets,
        "overlap": overlaps(selected),
        "why_empty": explain(selected, by_task),
        "pools": {"alive": len(set(alive) - avoid), "active": len(set(active) - avoid)},
        "controls": {
            "random_alive": controls(alive, avoid, size, random_sets, seed),
            "random_active": controls(active, avoid, size, random_sets, seed + 1),
        },
    }


class FeatureSet(NamedTuple):
    """Features to edit together, and the tasks to evaluate under the edit.

    `size` is how many features there should be; a control has no fewer.
    """

    name: str
    kind: str
    index: int
    features: list[int]
    tasks: list[str]
    size: int


def feature_sets(chosen: dict, tasks: list[str]) -> list[FeatureSet]:
    """The sets of an intervention run: the intersection, the majority, each task's own on itself,
    and for each of them random sets of its size on its tasks.

    `chosen` is the content of features.json.
    """
    named = [(kind, kind, chosen[kind], tasks) for kind in ("intersection", "majority")]
    named += [
        (f"own-{task}", "per_task", found["selected"], [task])
        for task, found in chosen["tasks"].items()
        if task in tasks
    ]
    sets = [FeatureSet(name, kind, 0, f, on, len(f)) for name, kind, f, on in named]
    for size in sorted({s.size for s in sets if s.size}):
        on = [task for task in tasks if any(s.size == size and task in s.tasks for s in sets)]
        for kind, draws in chosen["controls"].items():
            sets += [
                FeatureSet(f"{kind}-{size}-{i}", kind, i, draw, on, size)
                for i, draw in enumerate(of_size(draws, size))
            ]
    return sets


def of_size(draws: list[list[int]], size: int) -> list[list[int]]:
    """The different sets of `size` features that draws begin with; none where the pool had fewer.

    A pool of hardly more than `size` features gives the same set again and again: it counts once.
    """
    found = {frozenset(draw[:size]): draw[:size] for draw in draws if len(draw) >= size}
    return list(found.values())
