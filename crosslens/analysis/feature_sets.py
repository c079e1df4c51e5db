"""The sets of features that the causal protocol edits, and those it compares them with.

Every set is selected on a split of the questions and edited on others: on half B what was selected
on half A, on a task what was selected without it, on held-out tasks what was selected on all.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from crosslens.analysis.controls import PRIMARY, Matched, Traits, matched_sets, random_sets
from crosslens.analysis.critical_samples import CELLS, HALVES
from crosslens.analysis.feature_scores import READOUTS, RL, Scores, splits_of
from crosslens.analysis.feature_selection import (
    WON,
    consistent,
    intersection,
    none_if_nan,
    overlap,
    select,
    select_all,
    task_scores,
    topped_up,
)

SHARED = ("all", *HALVES)  # splits whose sets are edited in every task


class Counts(NamedTuple):
    """How many control sets are drawn: for primary sets, for others, and of the paper's kind."""

    matched: int
    exploratory: int
    random: int


class Choice(NamedTuple):
    """How features are chosen: by what score of `KINDS`, readout and threshold.

    A primary set has at least `least` features where as many have a score above 0 in every task.
    """

    score: str
    readout: str
    threshold: float
    active_rate: float
    least: int


def feature_sets(
    scores: Scores,
    tasks: Sequence[str],
    alive: Bool[np.ndarray, " k"],
    choice: Choice,
    counts: Counts,
    seed: int,
) -> dict[str, Any]:
    """Return everything that is selected: by the paper's score and readouts, and by the protocol.

    Keys `tasks`, `intersection`, `majority`, `overlap`, `pools` and `controls` are the paper's;
    `readouts` has the same of every readout; `protocol` the sets of each split; `cells`
    the overlap of tasks for features that RL raises elsewhere.
    """
    papers = {name: paper_sets(scores, tasks, name, choice.threshold) for name in READOUTS}
    mine = papers[choice.readout]
    avoid = set().union(*(task_set["selected"] for task_set in mine["tasks"].values()))
    size = max(len(mine[k]) for k in ("intersection", "majority"))
    size = max([size, *(len(task_set["selected"]) for task_set in mine["tasks"].values())])
    pools = {"alive": np.flatnonzero(alive).tolist(), "active": active(scores, choice)}
    controls = {
        f"random_{name}": random_sets(pool, avoid, size, counts.random, seed + i)
        for i, (name, pool) in enumerate(pools.items())
    }
    splits = {
        name: split_sets(scores, tasks, name, alive, choice, counts, seed)
        for name in splits_of(tasks)
    }
    return {
        "readout": choice.readout,
        **mine,
        "pools": {name: len(set(pool) - avoid) for name, pool in pools.items()},
        "controls": controls,
        "readouts": papers,
        "score": choice.score,
        "protocol": splits,
        "cells": {kind: cell_overlap(scores, tasks, kind, choice) for kind in (*CELLS, "contrast")},
        "stability": none_if_nan(overlap(splits["A"][PRIMARY], splits["B"][PRIMARY])["jaccard"]),
    }


def paper_sets(scores: Scores, tasks: Sequence[str], readout: str, threshold: float) -> dict:
    """Return what the paper's score selects on all critical samples, with their number."""
    values = task_scores(scores, "paper", splits_of(tasks)["all"], readout)
    selection = select_all(values, tasks, threshold)
    for task, count in zip(tasks, scores.count[:, :, WON].sum(axis=1), strict=True):
        selection["tasks"][task]["critical"] = int(count)
    return selection


def active(scores: Scores, choice: Choice) -> list[int]:
    """Return features that fire in RL on enough critical samples, in the mean over tasks."""
    fires = scores.fires[READOUTS.index(choice.readout), :, :, WON].sum(axis=1)
    count = scores.count[:, :, WON].sum(axis=1)
    if not count.any():
        return []
    rates = fires[count > 0] / count[count > 0, None]
    return np.flatnonzero(rates.mean(axis=0) >= choice.active_rate).tolist()


def split_sets(
    scores: Scores,
    tasks: Sequence[str],
    name: str,
    alive: Bool[np.ndarray, " k"],
    choice: Choice,
    counts: Counts,
    seed: int,
) -> dict[str, Any]:
    """Return the sets selected on one split, with their controls and dose units.

    The primary set is the intersection over tasks, `topped_up`.
    """
    split = splits_of(tasks)[name]
    inside = np.flatnonzero(split.any(axis=1))
    here = [tasks[i] for i in inside]

    def scored(kind: str) -> Float[np.ndarray, "t k"]:
        return task_scores(scores, kind, split, choice.readout)[inside]

    values, contrast = scored(choice.score), scored("contrast")
    selection = select_all(values, here, choice.threshold)
    chosen = topped_up(values, selection["intersection"], choice.least)
    sets = {
        PRIMARY: chosen,
        "majority": selection["majority"],
        "contrast": intersection(
            {t: select(v, choice.threshold) for t, v in zip(here, contrast, strict=True)}
        ),
    }
    others = {
        "next_best": consistent(values, set(chosen), len(chosen)),
        "sft": consistent(scored("sft"), set(), len(chosen)),
    }
    traits = traits_of(scores, split)
    drawn = {
        kind: matched_sets(features, traits, alive, controls_for(kind, name, counts), seed + 10 * i)
        for i, (kind, features) in enumerate(sets.items())
        if name in SHARED or kind == PRIMARY
    }
    at = list(splits_of(tasks)).index(name)
    return {
        "tasks": selection["tasks"],
        "intersection": selection["intersection"],
        **sets,
        **others,
        "controls": {kind: matched.sets for kind, matched in drawn.items()},
        "matching": {kind: matching(matched) for kind, matched in drawn.items()},
        "units": used_units(scores.units[at], [*sets.values(), others["next_best"]], drawn),
        "sft_units": used_units(scores.sft_units[at], [others["sft"]], {}),
        "scores": {str(k): float(np.nanmean(values[:, k])) for k in chosen},
        "rl_less_sft": [rl_less_sft(scores, ~split, k, choice) for k in chosen],
    }


def controls_for(kind: str, split: str, counts: Counts) -> int:
    """Return how many controls a set has: the primary ones most."""
    primary = kind == PRIMARY and split in SHARED
    return counts.matched if primary else min(counts.matched, counts.exploratory)


def traits_of(scores: Scores, split: Bool[np.ndarray, "t h"]) -> Traits:
    """Return every feature's traits over a split's questions."""
    count = (scores.count.sum(axis=2) * split).sum()
    norm = scores.norms[RL]
    rate = (scores.active * split[:, :, None]).sum(axis=(0, 1)) / max(count, 1)
    total = (scores.total * split[:, :, None]).sum(axis=(0, 1)) / max(count, 1)
    with np.errstate(invalid="ignore"):
        share = np.nan_to_num(norm / scores.norms.sum(axis=0))
    return Traits(rate, norm * total, share)


def matching(matched: Matched) -> dict[str, Any]:
    """Return how many controls there are, of how many features, and how near to their set."""
    return {
        "sets": len(matched.sets),
        "features": len({k for features in matched.sets for k in features}),
        "worst_caliper": none_if_nan(matched.worst),
        "balance": matched.balance,
    }


def used_units(
    units: Float[np.ndarray, " k"], sets: Sequence[Sequence[int]], drawn: dict[str, Matched]
) -> dict[str, float]:
    """Return the dose units of all features in some sets and their controls."""
    used = {k for features in sets for k in features}
    used |= {k for matched in drawn.values() for features in matched.sets for k in features}
    return {str(k): float(units[k]) for k in sorted(used)}


def rl_less_sft(
    scores: Scores, split: Bool[np.ndarray, "t h"], feature: int, choice: Choice
) -> dict[str, float | None]:
    """Return Score^R - Score^S of a feature in contributions, with its standard error.

    Over the critical samples of all tasks of the split together. On samples that it was selected
    on, a feature's Score^R is too high: the split must be the other questions.
    """
    gain = scores.gain[READOUTS.index(choice.readout), :, :, WON, feature]
    difference = ((gain - scores.sft_gain[:, :, WON, feature]) * split).sum()
    square = (scores.contrast_square[:, :, feature] * split).sum()
    count = (scores.count[:, :, WON] * split).sum()
    if count < 2:
        return {"feature": feature, "mean": None, "stderr": None}
    mean, norm = difference / count, scores.norms[RL, feature]
    variance = max(0.0, (square - count * mean**2) / (count - 1))
    return {
        "feature": feature,
        "mean": float(norm * mean),
        "stderr": float(norm * (variance / count) ** 0.5),
    }


def cell_overlap(scores: Scores, tasks: Sequence[str], kind: str, choice: Choice) -> dict[str, Any]:
    """Return the overlap of tasks for features selected on one cell of base and RL.

    The null of Figure 4: features that RL raises whatever base and RL answer overlap as well, and
    cannot explain winning. `chance` is the expected share of the smaller set found in the other, if
    both were random features among those that fire in RL.
    """
    every = splits_of(tasks)["all"]
    values = task_scores(scores, choice.score if kind == "won" else kind, every, choice.readout)
    selection = select_all(values, tasks, choice.threshold)
    firing = int((scores.active.sum(axis=(0, 1)) > 0).sum())
    sizes = {task: len(entry["selected"]) for task, entry in selection["tasks"].items()}
    cell = CELLS.index(kind) if kind in CELLS else WON
    for pair in selection["overlap"]:
        larger = max(sizes[pair["a"]], sizes[pair["b"]])
        pair["chance"] = min(1.0, larger / firing) if firing else None
    counts = scores.count[:, :, cell].sum(axis=1).tolist()
    return {
        "questions": dict(zip(tasks, map(int, counts), strict=True)),
        "sizes": sizes,
        "intersection": selection["intersection"],
        "overlap": selection["overlap"],
    }
