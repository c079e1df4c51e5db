"""The paper's claims and what this study says of each: estimate, interval, null, verdict.

RULE of verdict_texts states how a verdict follows from an interval. The numbers are those of
summary.json. Claims about interventions keep the verdict of their primary hypothesis
(crosslens.analysis.hypotheses).
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import mean
from typing import Any, NamedTuple

from crosslens.analysis.hypotheses import NOT_SUPPORTED, SUPPORTED, UNDECIDED
from crosslens.analysis.intervals import wilson
from crosslens.analysis.significance import LEAST_SEEDS, t_interval
from crosslens.config.crosscoder_design import MATCHED, TOPK
from crosslens.config.figure_list import TABLES
from crosslens.config.study_design import FINAL
from crosslens.reporting.tables import task_title
from crosslens.reporting.verdict_texts import (
    MEASURES,
    by_seed,
    claim_of,
    claimed,
    controls_of,
    reproduced,
    sft_sentence,
    signed,
)

COMPARED = {"swapped": "Models swapped at random", "noise": "Base and noise", TOPK: "BatchTopK"}
HALF = 0.5  # of a top list
ELSEWHERE = ("both_right", "both_wrong", "lost")  # questions that RL does not win


class Verdict(NamedTuple):
    """What one family says of a claim.

    `null` is the value that the interval is compared with, `against` says what it stands for.
    `seeds` are the estimates of single seeds, or of steps from checkpoint to checkpoint.
    """

    estimate: float | None
    low: float | None
    high: float | None
    unit: str
    null: float
    against: str
    seeds: list[float]
    verdict: str
    reason: str


def decide(low: float | None, high: float | None, null: float = 0.0) -> str:
    """Return the verdict on an estimate that is claimed to be above `null`, by RULE."""
    if low is None or high is None or low != low:
        return UNDECIDED
    return SUPPORTED if low > null else NOT_SUPPORTED if high <= null else UNDECIDED


def over_seeds(
    values: Sequence[float | None], unit: str, against: str, few: str, swapped: float = 0.0
) -> Verdict:
    """Return the verdict on a difference that is claimed to be above a null, from a value a seed.

    The null is 0, or the difference `swapped` where models are swapped at random, if that is more.
    Undecided where a seed has no value, where all have the same, and where there are fewer than
    LEAST_SEEDS, of which `few` is the reason.
    """
    null, known = max(0.0, swapped), [value for value in values if value is not None]
    low, high = t_interval(known) if len(known) > 1 else (None, None)
    estimate = mean(known) if known else None
    found = decide(low, high, null)
    reason = ""
    if len(known) < len(values):
        found, reason = UNDECIDED, f"{len(known)} of {len(values)} seeds have a value"
    elif len(known) < LEAST_SEEDS:
        found, reason = UNDECIDED, few
    elif low == high:
        found, reason = UNDECIDED, "all values are the same, so they have no interval"
    elif found != SUPPORTED and decide(low, high) == SUPPORTED:
        reason = f"the difference with models swapped at random is {swapped:+.1f}"
    return Verdict(estimate, low, high, unit, null, against, known, found, reason)


FEW_SEEDS = f"fewer than {LEAST_SEEDS} seeds"


def specific_features(family: Mapping[str, Any]) -> Verdict:
    """Judge whether SFT makes more specific features than RL, by NRN of the final pairs."""
    tails = family["specificity"]

    def far(name: str) -> float:
        found = tails[name]
        return 100 * (found["below_0.3"] + found["above_0.7"]) / max(1, found["alive"])

    seeds = [name.rpartition("-r")[2] for name in tails if name.startswith(f"{FINAL['sft']}-r")]
    pairs = [[far(f"{FINAL[p]}-r{seed}") for p in ("sft", "rl")] for seed in seeds]
    against, swapped = by_seed(pairs), 0.0
    for kind, what in COMPARED.items():
        names = [f"{FINAL[p]}-{kind}-r0" for p in ("sft", "rl")]
        if all(name in tails for name in names):
            sft, rl = map(far, names)
            against += f" {what}: SFT {sft:.1f}%, RL {rl:.1f}%."
            swapped = sft - rl if kind == "swapped" else swapped
    if f"{MATCHED}-r0" in tails:
        against += f" SFT model as far from base as RL: {far(f'{MATCHED}-r0'):.1f}%."
    against = f"{claimed(max(0.0, swapped))} {against}"
    unit = "points: percentage of alive features with NRN below 0.3 or above 0.7, SFT minus RL"
    return over_seeds([sft - rl for sft, rl in pairs], unit, against, FEW_SEEDS, swapped)


def attributed_features(family: Mapping[str, Any]) -> Verdict:
    """Judge the same claim by MAS: features of which one tuned model has most, by seed."""
    found = {
        name: [100 * seed[f"{p}_above_0.5"] / max(1, seed["alive"]) for p in ("sft", "rl")]
        for name, seed in family["attribution"].items()
    }
    null = found.pop("swapped", [0.0, 0.0])
    pairs, swapped = found.values(), null[0] - null[1]
    against = f"{claimed(max(0.0, swapped))} {by_seed(pairs)}"
    if "swapped" in family["attribution"]:
        against += f" {COMPARED['swapped']}: SFT {null[0]:.1f}%, RL {null[1]:.1f}%."
    unit = "points: percentage of alive features with MAS above 0.5, SFT minus RL"
    return over_seeds([sft - rl for sft, rl in pairs], unit, against, FEW_SEEDS, swapped)


def early_features(family: Mapping[str, Any]) -> Verdict:
    """Judge whether SFT's features come early: how much of the last top list the first one has."""
    found = family["turnover"]["sft"]
    unit = "fraction of the last top list in the first one, matched by decoder direction"
    against = f"{claimed(HALF)} {reproduced('the last list', found['other_seed'])}"
    first, last = found["checkpoints"][0], found["checkpoints"][-1]
    if first == last:
        return Verdict(None, None, None, unit, HALF, against, [], UNDECIDED, "only one checkpoint")
    count, size = found["common"][f"{first}-{last}"]
    if not size:
        return Verdict(None, None, None, unit, HALF, against, [], UNDECIDED, "the list is empty")
    low, high = wilson(count, size)
    share = count / size
    verdict = decide(low, high, HALF)
    stated = Verdict(share, low, high, unit, HALF, against, [share], verdict, "")
    return if_reproduced(stated, found["other_seed"])


def turnover(family: Mapping[str, Any]) -> Verdict:
    """Judge whether RL's list changes more than SFT's from checkpoint to checkpoint."""
    sft, rl = (family["turnover"][p] for p in ("sft", "rl"))
    steps = [f"{a}-{b}" for a, b in pairwise(rl["checkpoints"])]
    pairs = [[found["common"].get(step, (0, 0)) for found in (sft, rl)] for step in steps]
    values = [100 * (s / of - r / size) for (s, of), (r, size) in pairs if of and size]
    unit = "points: percentage of the top list that the next checkpoint replaces, RL minus SFT"
    against = " ".join(
        reproduced(f"{name}'s last list", found["other_seed"])
        for name, found in (("SFT", sft), ("RL", rl))
    )
    few = f"fewer than {LEAST_SEEDS} steps between checkpoints to compare"
    stated = over_seeds(values, unit, f"{claimed(0)} {against}", few)
    return if_reproduced(stated, [*sft["other_seed"], *rl["other_seed"]])


def if_reproduced(found: Verdict, other_seed: Sequence[float]) -> Verdict:
    """Return a verdict on top lists, undecided unless other seeds reproduce half of each list."""
    if found.verdict == UNDECIDED or (other_seed and min(other_seed) >= HALF):
        return found
    reason = "another seed reproduces less than half of a list" if other_seed else "only one seed"
    return found._replace(verdict=UNDECIDED, reason=reason)


def shared_features(family: Mapping[str, Any]) -> Verdict:
    """Judge whether tasks share more features where RL wins than on other questions."""
    cells, seeds = family["evidence"]["overlap"], family["evidence"]["features"]
    counts = [seed["protocol"]["all"]["intersection"] for seed in seeds]
    values = []
    for seed, own in enumerate(cells["won"]["share"]):
        others = [cells[cell]["share"][seed] for cell in ELSEWHERE]
        known = [share for share in others if share is not None]
        values.append(100 * (own - max(known)) if own is not None and known else None)
    unit = "points: overlap of tasks' features where RL gains, minus the largest elsewhere"
    selected = f"Features selected in all tasks, by seed: {', '.join(map(str, counts))}."
    found = over_seeds(values, unit, f"{claimed(0)} {selected}", FEW_SEEDS)
    if without := tasks_without_samples(family):
        reason = f"RL wins no question of {', '.join(map(task_title, without))}"
        return found._replace(verdict=UNDECIDED, reason=reason)
    if not any(counts) and len(counts) >= LEAST_SEEDS:
        return found._replace(verdict=NOT_SUPPORTED, reason="no feature is selected in all tasks")
    if not all(counts):
        reason = f"{len(counts) - counts.count(0)} of {len(counts)} seeds have such a feature"
        return found._replace(verdict=UNDECIDED, reason=reason)
    return found


def tasks_without_samples(family: Mapping[str, Any]) -> list[str]:
    """Return the tasks of the selection that have no critical sample, and so no feature."""
    per_task = next(iter(family["features"]["readouts"].values()))["per_task"]
    return [task for task in per_task if not family["critical"][task]["critical"]]


def intervention(name: str, family: Mapping[str, Any]) -> Verdict:
    """Return what a primary hypothesis says: the excess over matched controls."""
    found = family["evidence"]["hypotheses"][name]
    unit = "points" if found["measure"] in ("net", "critical") else ""
    unit = f"{unit}: {MEASURES[found['measure']]}, minus the mean of matched controls".lstrip(": ")
    if "excess" not in found:
        return Verdict(None, None, None, unit, 0.0, "", [], found["verdict"], found["reason"])
    low, high = found["interval"]
    evidence = family["evidence"]
    chance = evidence["questions"][found["questions"]]["chance"]
    against = " ".join(
        [
            *controls_of(found, evidence["features"]),
            sft_sentence(found),
            f"The other model's complete state: {signed(found['ceiling'])} (net). Detectable "
            f"excess: {signed(found['detectable'])}. Accuracy of guessing: {chance:.0%}.",
        ]
    )
    values = [
        seed[found["measure"]] - seed[f"{found['measure']}_controls"]
        for seed in found["per_seed"]
        if seed.get(found["measure"]) is not None
        and seed.get(f"{found['measure']}_controls") is not None
    ]
    numbers = (found["excess"], low, high, unit, 0.0, against, values)
    return Verdict(*numbers, found["verdict"], found["reason"])


CLAIMS = {  # what judges a claim, and the figures that show it
    "SFT makes more model-specific features than RL": (specific_features, ["figure1"]),
    "SFT's specific features come early and stay": (early_features, ["figure2", "figure8"]),
    "RL's specific features keep changing": (turnover, ["figure2", "figure9"]),
    "MAS agrees: more features are specific to SFT than to RL": (attributed_features, ["figure3"]),
    "A few features are selected in all tasks": (shared_features, ["figure4"]),
}


EDITS = ("controls", "dose-curves")  # figures of all interventions


def table_of(hypothesis: Mapping[str, Any]) -> str:
    """Return the table of the paper that a primary hypothesis belongs to."""
    tasks = "heldout_tasks" if hypothesis["questions"] == "held_out" else "tasks"
    edited = "base" if hypothesis["target"] == "base" else "rl"
    found = (n for n, table in TABLES.items() if (table.target, table.tasks) == (edited, tasks))
    return f"table{next(found)}"


def verdicts(families: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the claims in the paper's order, with the verdict of each family and of all.

    `families` are those of summary.json.
    """
    found = [
        entry(claim, {name: judge(family) for name, family in families.items()}, shown)
        for claim, (judge, shown) in CLAIMS.items()
    ]
    hypotheses = next(iter(families.values()))["evidence"]["hypotheses"]
    for name, hypothesis in hypotheses.items():
        each = {family: intervention(name, numbers) for family, numbers in families.items()}
        found.append(entry(claim_of(hypothesis), each, [table_of(hypothesis), *EDITS]))
    return found


def entry(claim: str, each: Mapping[str, Verdict], shown: Sequence[str]) -> dict[str, Any]:
    """Return a claim with the verdict that all families agree on; undecided if they differ.

    `shown` names the figures and tables with its evidence.
    """
    every = {found.verdict for found in each.values()}
    together = every.pop() if len(every) == 1 else UNDECIDED
    families = {name: found._asdict() for name, found in each.items()}
    return {"claim": claim, "verdict": together, "families": families, "evidence": list(shown)}
