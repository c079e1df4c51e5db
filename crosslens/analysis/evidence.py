"""Collect what interventions show, small enough to read: the content of evidence.json.

Keys:
questions   by task and group: number, chance, accuracy of base, SFT and RL
features    by seed: how many features the paper's and the protocol's sets have (primary: selected
            in all tasks, topped up), how well controls match and of how many features they are,
            how stable the halves' sets are, how RL's scores compare with SFT's (of each half's
            features, on the other half)
hypotheses  by name: the claim (target, features, dose, questions, measure, sign), n_questions,
            seeds, seeds_with_set, controls_needed (so that p can pass), effect (of the set by
            itself, on all questions that it edits: estimate, 95% interval over seeds and
            questions, seed_interval, questions), estimate (where controls edit them too), controls
            (valid ones: count, mean, low, high, largest_scaling), excess (estimate less the
            controls' mean), interval (95%, over seeds, questions and controls), seed_interval (t,
            over seeds), detectable (excess found in four studies of five), ceiling (the other
            model's complete state patched in), sft_control (the same edit of SFT, or SFT's features
            in base), batch_topk (the features of a crosscoder with BatchTopK, if there is one),
            rl_gain, p, p_holm, verdict, reason; and `per_seed` the same measures with won, lost,
            McNemar's p, questions compared, and the number and mean of controls
overlap     Figure 4 and its null: by cell of base and RL, the mean share over pairs of tasks, by
            seed, and `chance`
doses       by target: for each dose, net, directedness and margin with their controls
comparisons by target: the primary set against each kind of comparison, by the same measures

Effects are in points of accuracy, margins in nats, directedness and shares in [0, 1]. All but
`hypotheses` is exploratory; effects.csv and comparisons.csv have all of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from crosslens.analysis.arms import MATCHED
from crosslens.analysis.comparisons import Rule
from crosslens.analysis.controls import PRIMARY
from crosslens.analysis.critical_samples import HALVES
from crosslens.analysis.feature_selection import none_if_nan
from crosslens.analysis.feature_sets import SHARED
from crosslens.analysis.hypotheses import Hypothesis, judge
from crosslens.analysis.outcomes import Benchmark, Run

SHOWN = ("net", "directedness", "margin")


def collect_evidence(
    hypotheses: Mapping[str, Hypothesis],
    runs: Mapping[str, Sequence[Run]],
    topk: Mapping[str, Sequence[Run]],
    benchmark: Benchmark,
    seeds: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    rule: Rule,
) -> dict[str, Any]:
    """Return the content of evidence.json.

    `runs` are those of each target, one per seed, and `topk` those with BatchTopK, if any; `seeds`
    the contents of features.json, `rows` those of comparisons.csv.
    """
    doses_of = primary_doses((h.target, h.dose) for h in hypotheses.values())
    content = {
        "questions": question_numbers(benchmark),
        "features": [feature_numbers(chosen) for chosen in seeds],
        "alpha": rule.alpha,
        "smallest_effect": rule.smallest,
        "hypotheses": judge(hypotheses, runs, benchmark, rule, topk),
        "overlap": overlap_numbers(seeds),
        "doses": doses(rows),
        "comparisons": comparisons(rows, doses_of),
    }
    return without_nan(content)


def primary_doses(hypotheses: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the primary dose of each edited model, from the target and dose of hypotheses.

    SFT, a control, is edited as RL is.
    """
    doses_of = dict(hypotheses)
    return doses_of | ({"sft": doses_of["rl"]} if "rl" in doses_of else {})


def question_numbers(benchmark: Benchmark) -> dict[str, dict[str, Any]]:
    """Return the number of questions and the accuracies, of each task and group."""
    groups = {t: benchmark.among([t]) for t in (*benchmark.tasks, *benchmark.held_out)}
    chance = benchmark.right.sum(axis=1) / benchmark.choices
    return {
        name: {
            "questions": int(chosen.sum()),
            "critical": int(benchmark.critical[chosen].sum()),
            "chance": float(chance[chosen].mean()),
            **{model: benchmark.accuracy(model, chosen) for model in ("base", "sft", "rl")},
        }
        for name, chosen in (groups | benchmark.groups()).items()
        if chosen.any()
    }


def feature_numbers(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one seed's features.json says, in numbers."""
    every = chosen["protocol"]["all"]
    halves = [feature for half in HALVES for feature in chosen["protocol"][half]["rl_less_sft"]]
    known = [feature for feature in halves if feature["mean"] is not None]
    return {
        "paper": len(chosen["intersection"]),
        "protocol": {
            name: {kind: len(sets[kind]) for kind in ("intersection", PRIMARY, "majority")}
            for name, sets in chosen["protocol"].items()
        },
        "same_as_paper": len({*every[PRIMARY]} & {*chosen["intersection"]}),
        "stability": chosen["stability"],
        "matching": worst_matching(chosen["protocol"]),
        "rl_less_sft": {
            "mean": float(np.mean([feature["mean"] for feature in known])) if known else None,
            # Features are correlated: the mean of their standard errors is the most it can be.
            "stderr": float(np.mean([feature["stderr"] for feature in known])) if known else None,
            "above_sft": sum(feature["mean"] > 1.96 * feature["stderr"] for feature in known),
        },
    }


def worst_matching(splits: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fewest control sets, the fewest features that those of a split use, and the
    largest distance, over the splits of primary sets."""
    matched = [splits[name]["matching"][PRIMARY] for name in SHARED if splits[name][PRIMARY]]
    apart = [each["worst_caliper"] for each in matched if each["worst_caliper"] is not None]
    return {
        "sets": min((each["sets"] for each in matched), default=0),
        "features": min((each["features"] for each in matched), default=0),
        "worst_caliper": max(apart, default=None),
    }


def overlap_numbers(seeds: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the mean overlap of two tasks for each cell, by seed; None where sets are empty."""
    overlaps = {}
    for cell in seeds[0]["cells"]:
        entries = [seed["cells"][cell] for seed in seeds]
        pairs = [entry["overlap"] for entry in entries]
        overlaps[cell] = {
            "share": [mean_of(pair["share"] for pair in some) for some in pairs],
            "chance": [mean_of(pair["chance"] for pair in some) for some in pairs],
            "features": [float(np.mean(list(entry["sizes"].values()))) for entry in entries],
        }
    return overlaps


def mean_of(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are there."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def doses(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the dose curves from the rows of comparisons.csv."""
    kept = ("dose", "questions", "measure")
    curves: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        own = row["design"] == "protocol" and row["features"] == PRIMARY
        if own and row["against"] == MATCHED and row["measure"] in SHOWN:
            curves.setdefault(row["target"], []).append(
                {k: row[k] for k in kept} | comparison_numbers(row)
            )
    return curves


def comparisons(
    rows: Sequence[Mapping[str, Any]], primary: Mapping[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """Return the primary sets against all they are compared with. `primary` has each target's
    dose."""
    kept = ("design", "features", "against", "questions", "measure")
    by_target: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["measure"] in SHOWN and row["dose"] == primary.get(row["target"]):
            by_target.setdefault(row["target"], []).append(
                {k: row[k] for k in kept} | comparison_numbers(row)
            )
    return by_target


def comparison_numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a comparison's numbers, None for NaN."""
    names = ("value", "control_mean", "control_low", "control_high", "excess", "low", "high")
    return {name: none_if_nan(row[name]) for name in names} | {
        "controls": row["controls"],
        "p": none_if_nan(row["p"]),
        "q": none_if_nan(row["q"]),
    }


def without_nan(value: Any) -> Any:
    """Return a nested value with None for every NaN, as JSON has it."""
    if isinstance(value, Mapping):
        return {k: without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
