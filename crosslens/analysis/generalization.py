"""Which features carry generalization: critical samples, their scores, and the selected sets.

Sections 3.2 (Eq. 11) and 7 of the paper. Scores are in the crosscoder's scaled activations.
"""

import random
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from crosslens.activations.extract import residual_stream
from crosslens.crosscoder.model import Crosscoder
from crosslens.io.errors import InputError

READOUTS = ("branch", "branch_scaled", "joint", "swap")
BASE, RL = 0, 2  # their places in the trio


def critical_samples(base: list[dict], rl: list[dict], tasks: list[str]) -> dict[str, dict]:
    """Per task, the documents that base gets wrong and RL gets right (section 3.2), and those RL
    lost. `base` and `rl` are the records of samples.jsonl.

    Joined on document id and hash. Raises InputError when the two runs saw different documents.
    """
    result = {}
    for task in tasks:
        before, after = (
            {key(r): r["correct"] for r in rows if r["task"] == task} for rows in (base, rl)
        )
        if before.keys() != after.keys():
            raise InputError(
                f"{task}: {len(before.keys() ^ after.keys())} documents of base and RL differ in "
                "id or hash: they were evaluated on different files, evaluate both again"
            )
        gained = [doc for doc in before if after[doc] and not before[doc]]
        lost = [doc for doc in before if before[doc] and not after[doc]]
        result[task] = {
            "documents": len(before),
            "critical": [{"doc_id": i, "doc_hash": h} for i, h in gained],
            "lost": len(lost),
        }
    return result


def key(row: dict) -> tuple[int, str]:
    """What identifies a document."""
    return row["doc_id"], row["doc_hash"]


@torch.no_grad()
def features_of(
    crosscoder: Crosscoder,
    activations: Float[torch.Tensor, "b n d_model"],
    model: int,
    readout: str,
) -> Float[torch.Tensor, "b d_sparse"]:
    """The features of one model at one token, from all models' activations there (unscaled).

    With x^j = s_j a^j and i the model:
    branch         ReLU(W_enc^i x^i + b_enc), the paper's; b_enc was trained for the sum over models
    branch_scaled  ReLU(n W_enc^i x^i + b_enc)
    swap           ReLU(sum_j W_enc^j x^i + b_enc): as if all models were this one
    joint          ReLU(sum_j W_enc^j x^j + b_enc), with base's x in RL's place when i is not RL
    """
    x = activations * crosscoder.scales[:, None]
    if readout == "branch":
        return crosscoder.encode_branch(x[:, model], model)
    if readout == "branch_scaled":
        return crosscoder.encode_branch(len(crosscoder.scales) * x[:, model], model)
    if readout == "swap":
        return crosscoder.encode(x[:, model, None].expand_as(x).contiguous())
    if model != RL:
        x = torch.cat([x[:, :RL], x[:, BASE, None], x[:, RL + 1 :]], dim=1)
    return crosscoder.encode(x)


def score_task(
    crosscoder: Crosscoder, activations: Float[torch.Tensor, "b n d_model"], readout: str
) -> pd.DataFrame:
    """Score_k = mean over critical samples of f_k^RL - f_k^Base (Eq. 11), and RL's firing rate.

    `activations` are the trio's at the final token of each critical sample. Columns: feature,
    score, rl_rate (share of samples, 0 to 1), readout.
    """
    rl, base = (features_of(crosscoder, activations, i, readout) for i in (RL, BASE))
    scores = (rl - base).mean(dim=0)
    table = pd.DataFrame({"feature": range(len(scores)), "score": scores.numpy()})
    return table.assign(rl_rate=(rl > 0).float().mean(dim=0).numpy(), readout=readout)


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


@torch.inference_mode()
def final_token(
    model: torch.nn.Module, prompts: list[list[int]], batch_size: int
) -> Float[torch.Tensor, "b d_model"]:
    """A truncated model's activation at each prompt's last token."""
    rows = []
    for start in range(0, len(prompts), batch_size):
        batch = prompts[start : start + batch_size]
        ids = torch.zeros(len(batch), max(map(len, batch)), dtype=torch.long)
        for row, prompt in zip(ids, batch, strict=True):
            row[: len(prompt)] = torch.tensor(prompt)  # padding on the right is never attended to
        x = residual_stream(model, ids.to(model.device))
        last = torch.tensor([len(prompt) - 1 for prompt in batch])
        rows.append(x[torch.arange(len(batch)), last].float().cpu())
    return torch.cat(rows)
