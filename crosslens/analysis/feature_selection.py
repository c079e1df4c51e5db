"""Select generalization features by their scores (sections 3.2, 7), and measure their overlap."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int

from crosslens.analysis.critical_samples import CELLS
from crosslens.analysis.feature_scores import READOUTS, RL, Scores

WON = CELLS.index("won")
# What a feature is scored by: the paper's mean difference, or contributions, on critical samples or
# another cell; on critical samples less all others; and with SFT in the place of RL.
KINDS = ("paper", "contribution", "contrast", "sft", "lost", "both_right", "both_wrong")


def task_scores(
    scores: Scores, kind: str, split: Bool[np.ndarray, "t h"], readout: str
) -> Float[np.ndarray, "t k"]:
    """Return each task's scores by one kind; NaN for a task without samples in the split.

    `split` [task, half] says which samples count. "sft" exists for the main readout only.
    """
    gain = scores.sft_gain if kind == "sft" else scores.gain[READOUTS.index(readout)]
    gain = (gain * split[:, :, None, None]).sum(axis=1)
    count = (scores.count * split[:, :, None]).sum(axis=1)
    norms = 1.0 if kind == "paper" else scores.norms[RL if kind != "sft" else 1]
    cell = CELLS.index(kind) if kind in CELLS else WON
    by_task = norms * mean(gain[:, cell], count[:, cell])
    if kind == "contrast":
        by_task -= norms * mean(gain.sum(axis=1) - gain[:, WON], count.sum(axis=1) - count[:, WON])
    return by_task


def mean(total: Float[np.ndarray, "t k"], count: Int[np.ndarray, " t"]) -> Float[np.ndarray, "t k"]:
    """Return total / count, NaN where nothing was counted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count[:, None] > 0, total / count[:, None], np.nan)


def relative(scores: Float[np.ndarray, "t k"]) -> Float[np.ndarray, "t k"]:
    """Return scores divided by their task's maximum; -inf where the maximum is not above 0."""
    highest = np.nan_to_num(scores, nan=-np.inf).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(highest > 0, scores / highest, -np.inf)


def select(scores: Float[np.ndarray, " k"], threshold: float) -> list[int]:
    """Return features whose score exceeds `threshold` times the maximum (section 7 has 20%)."""
    return np.flatnonzero(relative(scores[None])[0] > threshold).tolist()


def intersection(selected: Mapping[str, list[int]]) -> list[int]:
    """Return features selected in every task: the paper's generalization-controlling ones (3.2)."""
    return sorted(set.intersection(*map(set, selected.values())))


def majority(selected: Mapping[str, list[int]]) -> list[int]:
    """Return features selected in more than half of the tasks."""
    counts: dict[int, int] = {}
    for features in selected.values():
        for feature in features:
            counts[feature] = counts.get(feature, 0) + 1
    return sorted(feature for feature, count in counts.items() if count > len(selected) / 2)


def consistent(scores: Float[np.ndarray, "t k"], avoid: set[int], count: int) -> list[int]:
    """Return the `count` features whose lowest relative score over tasks is highest and above 0.

    Features to avoid are left out. A feature is in the intersection if and only if its lowest
    relative score exceeds the threshold, so these are the next best features.
    """
    lowest = relative(scores).min(axis=0)
    order = np.lexsort((np.arange(len(lowest)), -lowest))
    return [int(k) for k in order if lowest[k] > 0 and k not in avoid][:count]


def topped_up(scores: Float[np.ndarray, "t k"], chosen: list[int], least: int) -> list[int]:
    """Return `chosen`, with the most `consistent` other features if it has fewer than `least`.

    Still fewer where too few features have a score above 0 in every task.
    """
    return sorted([*chosen, *consistent(scores, set(chosen), max(0, least - len(chosen)))])


def overlap(a: Sequence[int], b: Sequence[int]) -> dict[str, float]:
    """Return the Jaccard index of two sets, and the fraction of the smaller found in the other.

    Both are in [0, 1], and NaN if a set is empty. Figure 4 shows the fraction.
    """
    common, union, smaller = len({*a} & {*b}), len({*a} | {*b}), min(len(a), len(b))
    return {
        "jaccard": common / union if union else np.nan,
        "share": common / smaller if smaller else np.nan,
    }


def overlaps(selected: Mapping[str, list[int]]) -> list[dict]:
    """Return the overlap of the sets of each two tasks."""
    return [
        {
            "a": a,
            "b": b,
            **{k: none_if_nan(v) for k, v in overlap(selected[a], selected[b]).items()},
        }
        for a, b in combinations(selected, 2)
    ]


def none_if_nan(value: float) -> float | None:
    """Return None for NaN, which JSON does not have."""
    return None if np.isnan(value) else float(value)


def select_all(scores: Float[np.ndarray, "t k"], tasks: Sequence[str], threshold: float) -> dict:
    """Return each task's features, those of all tasks and of most, and their overlap."""
    selected = {t: select(row, threshold) for t, row in zip(tasks, scores, strict=True)}
    return {
        "tasks": {
            task: {"max_score": none_if_nan(row.max()), "selected": selected[task]}
            for task, row in zip(tasks, scores, strict=True)
        },
        "intersection": intersection(selected),
        "majority": majority(selected),
        "overlap": overlaps(selected),
    }
