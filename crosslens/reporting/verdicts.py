"""The paper's claims and what this study says of each: estimate, interval, null, verdict.

RULE of verdict_texts states how a verdict follows from an interval. The numbers are those of
summary.json. Claims about interventions keep the verdict of their primary hypothesis
(crosslens.analysis.hypotheses).
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import mean
from typing import Any, NamedTuple

from crosslens.analysis.hypotheses import NOT_SUPPORTED, SUPPORTED, UNDECIDED
from crosslens.analysis.intervals import wilson
from crosslens.analysis.significance import LEAST_SEEDS, t_interval
from crosslens.config.crosscoder_design import MATCHED, TOPK
from crosslens.config.study_design import FINAL
from crosslens.reporting.tables import task_title
from crosslens.reporting.verdict_texts import (
    MEASURES,
    by_seed,
    claimed,
    controls_of,
    corrected,
    decoded,
    drifted,
    reproduced,
    sft_sentence,
    signed,
    topk_edit,
    topk_sentence,
    within_one,
)

COMPARED = {"swapped": "Models swapped at random", "noise": "Base and noise", TOPK: "BatchTopK"}
HALF = 0.5  # of a top list
ARTIFACT = "artifact of L1"
ELSEWHERE = ("both_right", "both_wrong", "lost")  # questions that RL does not win


class Verdict(NamedTuple):
    """The verdict on a claim from one family.

    `null` is the value that the interval is compared with, `against` names it.
    `seeds` are the estimates of single seeds, or of steps from checkpoint to checkpoint: `each`
    says which. `batch_topk` has estimate, low, high, seeds, verdict and reason of BatchTopK's
    crosscoders, if there are any.
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
    each: str = "seed"
    batch_topk: dict[str, Any] | None = None


def decide(low: float | None, high: float | None, null: float = 0.0) -> str:
    """Return the verdict on an estimate that is claimed to be above `null`, by RULE."""
    if low is None or high is None or low != low:
        return UNDECIDED
    return SUPPORTED if low > null else NOT_SUPPORTED if high <= null else UNDECIDED


def over_seeds(
    values: Sequence[float | None],
    unit: str,
    against: str,
    few: str,
    swapped: float = 0.0,
    step: float = 0.0,
) -> Verdict:
    """Return the verdict on a difference that is claimed to exceed a null, from a value per seed.

    The null is 0, or the difference `swapped` where models are swapped at random, if that is more.
    Undecided where a seed has no value, where values differ by at most `step`, the value of one
    feature, and where there are fewer than LEAST_SEEDS, of which `few` is the reason.
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
    elif max(known) - min(known) <= step:
        found, reason = UNDECIDED, SAME if low == high else ONE_FEATURE
    elif found != SUPPORTED and decide(low, high) == SUPPORTED:
        reason = f"the difference with models swapped at random is {swapped:+.1f}"
    return Verdict(estimate, low, high, unit, null, against, known, found, reason)


FEW_SEEDS = f"fewer than {LEAST_SEEDS} seeds"
SAME = "all values are the same, so they have no interval"
ONE_FEATURE = "seeds differ by at most one feature, so they have no interval"


def with_topk(found: Verdict, values: Sequence[float | None], step: float = 0.0) -> Verdict:
    """Return a verdict with BatchTopK's, by its value for each of its seeds; its null is 0.

    ARTIFACT where only crosscoders with L1 support the claim. `step` is the value of one feature.
    """
    if all(value is None for value in values):
        return found
    if len(values) > 1:
        topk = over_seeds(values, found.unit, "", FEW_SEEDS, step=step)
    else:
        topk = one_seed(found, values[0])
    kept = ("estimate", "low", "high", "seeds", "verdict", "reason")
    stated = {name: getattr(topk, name) for name in kept}
    against = f"{found.against} {topk_sentence(stated)}"
    found = found._replace(against=against, batch_topk=stated)
    if found.verdict == SUPPORTED and topk.verdict == NOT_SUPPORTED:
        return found._replace(verdict=ARTIFACT, reason="crosscoders with BatchTopK do not show it")
    return found


def one_seed(others: Verdict, value: float | None) -> Verdict:
    """Return the verdict on the value of a single seed, with the spread over seeds of others.

    The half width of its interval is t times the standard deviation over their seeds.
    """
    low = high = None
    if value is not None and others.low is not None and others.high is not None:
        half = (others.high - others.low) / 2 * len(others.seeds) ** 0.5
        low, high = (value - half, value + half) if half > 0 else (None, None)
    reason = "one seed" if low is None else "one seed, with the spread over seeds of those with L1"
    known = [] if value is None else [value]
    verdict = decide(low, high)
    return others._replace(
        estimate=value, low=low, high=high, seeds=known, verdict=verdict, reason=reason
    )


def more_in_sft(
    measure: str,
    pairs: Sequence[Sequence[float]],
    stars: Sequence[Sequence[float]],
    others: Mapping[str, Sequence[Sequence[float]]],
    more: str,
    what: str,
    alive: Mapping[str, int],
) -> Verdict:
    """Judge whether SFT has more specific features than RL, by the percentages of both by seed.

    `stars` are the same by the measure without shrinkage, `others` those of the other kinds of
    crosscoders, by kind. `alive` has the fewest alive features of a crosscoder, by kind ("" for
    `pairs`); one feature is at most the percentage that follows.
    """
    steps = {kind: 100 / max(1, count) for kind, count in alive.items()}
    less = {kind: [sft - rl for sft, rl in found] for kind, found in others.items()}
    null = mean(less["swapped"]) if "swapped" in less else 0.0
    parts = [claimed(max(0.0, null)), by_seed(pairs)]
    parts += [by_seed(found, COMPARED[kind]) for kind, found in others.items()]
    parts += [more, corrected(f"{measure}*", stars, t_interval([sft - rl for sft, rl in stars]))]
    against = " ".join(filter(None, parts))
    unit = f"points: percentage of alive features with {measure} {what}, SFT minus RL"
    found = over_seeds([sft - rl for sft, rl in pairs], unit, against, FEW_SEEDS, null, steps[""])
    return with_topk(found, less.get(TOPK, []), steps.get(TOPK, 0.0))


def specific_features(family: Mapping[str, Any]) -> Verdict:
    """Judge whether SFT makes more specific features than RL, by NRN of the final pairs."""
    tails = family["specificity"]

    def far(name: str, score: str = "") -> float:
        found = tails[name]
        outside = found[f"{score}below_0.3"] + found[f"{score}above_0.7"]
        return 100 * outside / max(1, found["alive"])

    def both(kind: str = "", score: str = "") -> list[list[float]]:
        seeds = replicates(tails, f"{FINAL['sft']}{kind}-r")
        return [[far(f"{FINAL[p]}{kind}-r{seed}", score) for p in ("sft", "rl")] for seed in seeds]

    pairs, stars = both(), both(score="star_")
    others = {kind: found for kind in COMPARED if (found := both(f"-{kind}"))}
    more = decoded(tails, {"SFT": f"{FINAL['sft']}-r0", "RL": f"{FINAL['rl']}-r0"})
    if f"{MATCHED}-r0" in tails:
        matched = f"{drifted(family.get('drift'))}: {far(f'{MATCHED}-r0'):.1f}%."
        more = f"SFT model as far from base as RL{matched} {more}".strip()
    alive = {
        kind: fewest(tails, [f"{FINAL[p]}-{kind and f'{kind}-'}" for p in ("sft", "rl")])
        for kind in ["", *others]
    }
    return more_in_sft("NRN", pairs, stars, others, more, "below 0.3 or above 0.7", alive)


def attributed_features(family: Mapping[str, Any]) -> Verdict:
    """Judge the same claim by MAS: features of which one tuned model has most, by seed."""

    every = family["attribution"]

    def both(kind: str = "", score: str = "") -> list[list[float]]:
        trios = [every[f"{kind}r{seed}"] for seed in replicates(every, f"{kind}r")]
        keys = [f"{p}{score}_above_0.5" for p in ("sft", "rl")]
        return [[100 * found[key] / max(1, found["alive"]) for key in keys] for found in trios]

    others = {kind: found for kind in COMPARED if (found := both(f"{kind}-"))}
    alive = {kind: fewest(every, [kind and f"{kind}-"]) for kind in ["", *others]}
    return more_in_sft("MAS", both(), both(score="_star"), others, "", "above 0.5", alive)


def fewest(numbers: Mapping[str, Mapping[str, Any]], starts: Iterable[str]) -> int:
    """Return the fewest alive features of a crosscoder, of all seeds of those named."""
    names = [f"{start}r{seed}" for start in starts for seed in replicates(numbers, f"{start}r")]
    return min(numbers[name]["alive"] for name in names)


def replicates(names: Iterable[str], start: str) -> list[str]:
    """Return the replicates of a crosscoder: what follows `start` in its names."""
    return [name.removeprefix(start) for name in names if name.startswith(start)]


def early_features(family: Mapping[str, Any]) -> Verdict:
    """Judge whether SFT's features come early: how much of the last top list the first one has."""
    found = family["turnover"]["sft"]
    unit = "fraction of the last top list in the first one, matched by decoder direction"
    first, last = found["checkpoints"][0], found["checkpoints"][-1]
    parts = [claimed(HALF), reproduced("the last list", found["other_seed"])]
    against = " ".join([*parts, *within_one("SFT", found, [f"{first}-{last}"])])
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
    named = {"SFT": sft, "RL": rl}
    parts = [reproduced(f"{name}'s last list", f["other_seed"]) for name, f in named.items()]
    parts += [text for name, f in named.items() for text in within_one(name, f, steps)]
    against = " ".join(parts)
    few = f"fewer than {LEAST_SEEDS} steps between checkpoints to compare"
    stated = over_seeds(values, unit, f"{claimed(0)} {against}", few)._replace(each="step")
    return if_reproduced(stated, [*sft["other_seed"], *rl["other_seed"]])


def if_reproduced(found: Verdict, other_seed: Sequence[float]) -> Verdict:
    """Return a verdict on top lists, undecided unless other seeds reproduce half of each list."""
    if found.verdict == UNDECIDED or (other_seed and min(other_seed) >= HALF):
        return found
    reason = "another seed reproduces less than half of a list" if other_seed else "only one seed"
    return found._replace(verdict=UNDECIDED, reason=reason)


def shared_features(family: Mapping[str, Any]) -> Verdict:
    """Judge whether tasks share more features where RL wins than on other questions."""
    seeds = family["evidence"]["features"]
    counts = [seed["protocol"]["all"]["intersection"] for seed in seeds]
    values = excess_overlap(family["evidence"]["overlap"])
    unit = "points: overlap of tasks' features where RL gains, minus the largest elsewhere"
    selected = f"Features selected in all tasks, by seed: {', '.join(map(str, counts))}."
    found = over_seeds(values, unit, f"{claimed(0)} {selected}", FEW_SEEDS)
    if topk := family.get("batch_topk"):
        found = with_topk(found, excess_overlap(topk["overlap"]))
        each = [str(seed["protocol"]["all"]["intersection"]) for seed in topk["features"]]
        also = f"Selected with BatchTopK, by seed: {', '.join(each)}."
        found = found._replace(against=f"{found.against} {also}")
    if without := tasks_without_samples(family):
        reason = f"RL wins no question of {', '.join(map(task_title, without))}"
        return found._replace(verdict=UNDECIDED, reason=reason)
    if not any(counts) and len(counts) >= LEAST_SEEDS:
        return found._replace(verdict=NOT_SUPPORTED, reason="no feature is selected in all tasks")
    if not all(counts):
        reason = f"{len(counts) - counts.count(0)} of {len(counts)} seeds have such a feature"
        return found._replace(verdict=UNDECIDED, reason=reason)
    return found


def excess_overlap(
    cells: Mapping[str, Mapping[str, Sequence[float | None]]],
) -> list[float | None]:
    """Return by how many points tasks share more where RL gains, by seed; None without features."""
    values = []
    for seed, own in enumerate(cells["won"]["share"]):
        others = [cells[cell]["share"][seed] for cell in ELSEWHERE]
        known = [share for share in others if share is not None]
        values.append(100 * (own - max(known)) if own is not None and known else None)
    return values


def tasks_without_samples(family: Mapping[str, Any]) -> list[str]:
    """Return the tasks of the selection that have no critical sample, and so no feature."""
    per_task = next(iter(family["features"]["readouts"].values()))["per_task"]
    return [task for task in per_task if not family["critical"][task]["critical"]]


def intervention(name: str, family: Mapping[str, Any]) -> Verdict:
    """Return the verdict of a primary hypothesis: the excess over matched controls."""
    found = family["evidence"]["hypotheses"][name]
    unit = "points" if found["measure"] in ("net", "critical") else ""
    unit = f"{unit}: {MEASURES[found['measure']]}, minus the mean of matched controls".lstrip(": ")
    if "excess" not in found:
        decided = (found["verdict"], found["reason"])
        return Verdict(None, None, None, unit, 0.0, topk_edit(found), [], *decided)
    low, high = found["interval"]
    evidence = family["evidence"]
    chance = evidence["questions"][found["questions"]]["chance"]
    against = " ".join(
        [
            *controls_of(found, evidence["features"]),
            *filter(None, [sft_sentence(found), topk_edit(found)]),
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
