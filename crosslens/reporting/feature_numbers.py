"""Numbers of summary.json about features: their specificity, tails and turnover."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from crosslens.analysis.feature_selection import none_if_nan
from crosslens.analysis.tails import (
    NULLS,
    Shares,
    seed_interval,
    shares_of_pairs,
    shares_of_trios,
)
from crosslens.config.crosscoder_design import TRIO_MODELS
from crosslens.config.study_design import FINAL
from crosslens.reporting.tables import task_title


def tails(nrn: pd.DataFrame) -> dict[str, dict]:
    """Return, for each pair, how wide the alive features' NRN spreads, and how many lie far out.

    `specific` counts those with NRN below 0.3 or above 0.7 that no other model has, by latent
    scaling. `star_` counts by NRN*. `r2_above_0.7` has the median R^2 by which the features with
    NRN above 0.7 are decoded from each model's activations (`decodability`). A crosscoder without
    alive features has no standard deviation.
    """
    by_crosscoder, confirmed = {}, specific_beyond(shares_of_pairs(nrn), "NRN", 0.7)
    for (name, replicate), every in nrn.groupby(["crosscoder", "replicate"]):
        part = every[every["alive"] == 1]
        values, star = part["nrn"], part["nrn_star"]
        tuned = part[values > 0.7]
        by_crosscoder[f"{name}-r{replicate}"] = {
            "alive": len(part),
            "std": none_if_nan(values.std(ddof=0)),
            **{f"below_{x}": int((values < x).sum()) for x in (0.2, 0.3, 0.4)},
            **{f"above_{x}": int((values > x).sum()) for x in (0.6, 0.7, 0.8)},
            "specific": sum(confirmed[name, replicate, model] for model in ("base", "tuned")),
            "star_below_0.3": int((star < 0.3).sum()),
            "star_above_0.7": int((star > 0.7).sum()),
            "r2_above_0.7": {m: none_if_nan(tuned[f"r2_{m}"].median()) for m in ("base", "tuned")},
        }
    return by_crosscoder


def specific_beyond(
    shares: Iterable[Shares], measure: str, threshold: float
) -> Counter[tuple[str, int, str]]:
    """Count the features of each tail that only its model has, by latent scaling.

    Keys: crosscoder, replicate and model.
    """
    counts: Counter[tuple[str, int, str]] = Counter()
    for part in shares:
        if part.measure == measure:
            specific = part.specific & (part.values > threshold)
            counts[part.crosscoder, part.replicate, part.model] += int(specific.sum())
    return counts


def tails_over_seeds(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each tail of each kind of crosscoder: its counts over seeds, and against the nulls.

    `specific` counts features that no other model has, by latent scaling. q is the largest false
    fraction over seeds, `start` the threshold from which it is at most 5%, for the first seed.
    """
    entries = []
    keys = ["crosscoder", "model", "measure", "threshold"]
    for values, part in table.groupby(keys, sort=False):
        part = part.sort_values("replicate")
        first = part.iloc[0]
        against = {
            kind: {
                "null": none_if_nan(first[f"null_{kind}"]),
                "q": none_if_nan(part[f"q_{kind}"].max()),
                "start": none_if_nan(first[f"start_{kind}"]),
                "excess": none_if_nan(first[f"excess_{kind}"]),
            }
            for kind in NULLS
            if part[f"q_{kind}"].notna().any()
        }
        counts = part["count"].tolist()
        entry = dict(zip(keys, values, strict=True)) | {
            "alive": part["alive"].tolist(),
            "count": counts,
            "specific": part["specific"].tolist(),
            "mean": float(np.mean(counts)),
            "ci95": seed_interval(counts),
        }
        entries.append(entry | against)
    return entries


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows as plain records, None for NaN."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def attribution(mas: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return how many alive features of a trio have more than half of their norm in one model.

    r0, r1, ... are the trio's seeds; "swapped-r0" is the trio whose models are in random order in
    each row, "topk-r0" that with BatchTopK. `star_` counts by MAS*, `specific` those by MAS that no
    other model has, by latent scaling.
    """
    by_trio, confirmed = {}, specific_beyond(shares_of_trios(mas), "MAS", 0.5)
    for (name, replicate), every in mas.groupby(["crosscoder", "replicate"]):
        part = every[every["alive"] == 1]
        by_trio[f"{name}-r{replicate}".removeprefix(f"{TRIO_MODELS}-")] = {
            "alive": len(part),
            **{
                f"{m}{star}_above_0.5": int((part[f"mas_{m}{star}"] > 0.5).sum())
                for m in FINAL
                for star in ("", "_star")
            },
            **{f"{m}_specific": confirmed[name, replicate, m] for m in FINAL},
        }
    return by_trio


def turnover(overlap: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return, for each paradigm, how many top features two checkpoints share by direction.

    `index` has the same counts by index, `other_seed`, for each other seed of the last checkpoint,
    the fraction that it reproduces. `together` has the same counts within one crosscoder of base
    and all checkpoints, and `null` their mean and their 5% and 95% quantiles with norms shuffled
    over models. None without that crosscoder.
    """
    by_paradigm = {}
    for paradigm, part in overlap.groupby("paradigm"):
        kinds = {kind: rows.set_index(["a", "b"])["overlap"] for kind, rows in part.groupby("kind")}
        sizes = sizes_of(kinds["index"])
        last = max(sizes)
        others = kinds.get("replicate_matched", [])
        by_paradigm[paradigm] = {
            "checkpoints": sorted(sizes),
            "common": in_common(kinds["matched"], sizes),
            "index": in_common(kinds["index"], sizes),
            "other_seed": [n / sizes[last] for n in others] if sizes[last] else [],
            "together": within_one(kinds) if "together" in kinds else None,
        }
    return by_paradigm


def sizes_of(overlaps: pd.Series) -> dict[int, int]:
    """Return the length of each checkpoint's list: its overlap with itself."""
    return {a: int(n) for (a, b), n in overlaps.items() if a == b}


def in_common(overlaps: pd.Series, sizes: Mapping[int, int]) -> dict[str, list[int]]:
    """Return, of each two checkpoints, how many features they share and of how many."""
    return {
        f"{a}-{b}": [int(n), min(sizes[a], sizes[b])] for (a, b), n in overlaps.items() if a != b
    }


def within_one(kinds: Mapping[str, pd.Series]) -> dict[str, Any]:
    """Return the overlaps within one crosscoder, and their null."""
    overlaps = kinds["together"]
    names = {"mean": "together_null", "low": "together_null_low", "high": "together_null_high"}
    return {
        "common": in_common(overlaps, sizes_of(overlaps)),
        "null": {name: float(kinds[kind].iloc[0]) for name, kind in names.items()},
    }


def why_empty(features: Mapping[str, Any]) -> str:
    """Return why no feature is selected in all tasks, with each task's numbers; "" if some are."""
    if features["intersection"]:
        return ""
    parts = [
        f"{task_title(task)} none (no critical sample)"
        if one["max_score"] is None
        else f"{task_title(task)} {len(one['selected'])} (maximum score {one['max_score']:.3g})"
        for task, one in features["tasks"].items()
    ]
    return f"No feature is selected in all tasks. Selected in each: {', '.join(parts)}."
