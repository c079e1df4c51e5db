"""The paper's claims and what this study says of each: estimate, interval, null, verdict.

RULE of verdict_texts states how a verdict follows from an interval. The numbers are those of
summary.json. Claims about interventions keep the verdict of their primary hypothesis
(crosslens.analysis.hypotheses).
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import Any, NamedTuple

from crosslens.analysis.hypotheses import NOT_SUPPORTED, SUPPORTED, UNDECIDED
from crosslens.analysis.significance import LEAST_SEEDS, t_interval
from crosslens.analysis.tails import LEVEL, false_share
from crosslens.config.crosscoder_design import MATCHED, TOPK
from crosslens.config.study_design import FINAL
from crosslens.reporting.tables import task_title
from crosslens.reporting.verdict_texts import (
    MEASURES,
    by_seed,
    claimed,
    confirmed,
    controls_of,
    corrected,
    decoded,
    drifted,
    effect_sentence,
    gap_sentence,
    not_compared,
    sft_sentence,
    signed,
    topk_edit,
    topk_sentence,
)

SWAPPED = "swapped"
COMPARED = {SWAPPED: "Models swapped at random", "noise": "Base and noise", TOPK: "BatchTopK"}
ARTIFACT = "artifact of L1"
ELSEWHERE = ("both_right", "both_wrong", "lost")  # questions that RL does not win


class Verdict(NamedTuple):
    """The verdict on a claim from one family.

    `null` is the value that the interval is compared with, or the estimate where there is no
    interval; `against` names it.
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


class Tail(NamedTuple):
    """One crosscoder's alive features, and those that a measure calls specific.

    `specific` of these are in no other model by latent scaling.
    """

    alive: int
    size: int
    specific: int

    @property
    def percentage(self) -> float:
        """Return the percentage of alive features that the measure calls specific."""
        return 100 * self.size / max(1, self.alive)


Tails = Sequence[Sequence[Tail]]  # of SFT and RL, by seed


def decide(low: float | None, high: float | None, null: float = 0.0) -> str:
    """Return the verdict on an estimate that is claimed to be above `null`, by RULE."""
    if low is None or high is None or low != low:
        return UNDECIDED
    return SUPPORTED if low > null else NOT_SUPPORTED if high <= null else UNDECIDED


def over_seeds(
    values: Sequence[float | None],
    unit: str,
    against: str,
    swapped: float = 0.0,
    step: float = 0.0,
) -> Verdict:
    """Return the verdict on a difference that is claimed to exceed a null, from a value per seed.

    The null is 0, or the difference `swapped` where models are swapped at random, if that is more.
    Undecided where a seed has no value, where values differ by at most `step`, the value of one
    feature, and where there are fewer than LEAST_SEEDS.
    """
    null, known = max(0.0, swapped), [value for value in values if value is not None]
    low, high = t_interval(known) if len(known) > 1 else (None, None)
    estimate = mean(known) if known else None
    verdict, reason = decide(low, high, null), ""
    if len(known) < len(values):
        verdict, reason = UNDECIDED, f"{len(known)} of {len(values)} seeds have a value"
    elif len(known) < LEAST_SEEDS:
        verdict, reason = UNDECIDED, FEW_SEEDS
    elif max(known) - min(known) <= step:
        verdict, reason = UNDECIDED, SAME if low == high else ONE_FEATURE
    elif verdict != SUPPORTED and decide(low, high) == SUPPORTED:
        reason = f"the difference with models swapped at random is {swapped:+.1f}"
    return Verdict(estimate, low, high, unit, null, against, known, verdict, reason)


FEW_SEEDS = f"fewer than {LEAST_SEEDS} seeds"
SAME = "all values are the same, so they have no interval"
ONE_FEATURE = "seeds differ by at most one feature, so they have no interval"
NO_NULL = "SFT's features have no null: swapped is not in crosscoder.evidence"


def with_topk(stated: Verdict, values: Sequence[float | None], step: float = 0.0) -> Verdict:
    """Return a verdict with BatchTopK's, by its value for each of its seeds; its null is 0.

    ARTIFACT where only crosscoders with L1 support the claim. `step` is the value of one feature.
    """
    if all(value is None for value in values):
        return stated
    if len(values) > 1:
        topk = over_seeds(values, stated.unit, "", step=step)
    else:
        topk = one_seed(stated, values[0])
    kept = ("estimate", "low", "high", "seeds", "verdict", "reason")
    of_topk = {name: getattr(topk, name) for name in kept}
    against = f"{stated.against} {topk_sentence(of_topk)}"
    stated = stated._replace(against=against, batch_topk=of_topk)
    if stated.verdict == SUPPORTED and topk.verdict == NOT_SUPPORTED:
        reason = joined("crosscoders with BatchTopK do not show it", stated.reason)
        return stated._replace(verdict=ARTIFACT, reason=reason)
    return stated


def joined(*reasons: str) -> str:
    """Return reasons as one; empty ones are left out."""
    return "; ".join(filter(None, reasons))


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
    measure: str, what: str, tails: Mapping[str, Tails], stars: Tails, more: str
) -> Verdict:
    """Judge whether SFT has more specific features than RL, and more than its own null.

    `tails` are those of the study's crosscoders ("") and of the other kinds, `stars` the same by
    the measure without shrinkage. `more` is said beside the numbers.
    """
    pairs, null = tails[""], tails.get(SWAPPED, [])
    less = {kind: differences(own) for kind, own in tails.items()}
    swapped = mean(less[SWAPPED]) if null else 0.0
    parts = [claimed(max(0.0, swapped)), by_seed(percentages(pairs))]
    parts += [by_seed(percentages(tails[kind]), COMPARED[kind]) for kind in tails if kind]
    parts += [more, corrected(f"{measure}*", percentages(stars), t_interval(differences(stars)))]
    against = " ".join(filter(None, parts))
    unit = f"points: percentage of alive features with {measure} {what}, SFT minus RL"
    stated = over_seeds(less[""], unit, against, swapped, one_feature(pairs))
    sft = [own for own, _ in pairs]
    stated = with_own_tail(stated, sft, [own for own, _ in null])
    stated = stated._replace(reason=joined(stated.reason, confirmed(sft)))
    return with_topk(stated, less.get(TOPK, []), one_feature(tails.get(TOPK, [])))


def percentages(tails: Tails) -> list[list[float]]:
    """Return the percentages of SFT and RL, by seed."""
    return [[tail.percentage for tail in pair] for pair in tails]


def differences(tails: Tails) -> list[float]:
    """Return the percentage of SFT less that of RL, by seed."""
    return [sft - rl for sft, rl in percentages(tails)]


def one_feature(tails: Tails) -> float:
    """Return the largest percentage that one feature is of a crosscoder's alive ones."""
    return max((100 / max(1, tail.alive) for pair in tails for tail in pair), default=0.0)


def with_own_tail(stated: Verdict, sft: Sequence[Tail], null: Sequence[Tail]) -> Verdict:
    """Return a verdict on SFT less RL that holds only if SFT's tail also exceeds its own null.

    `null` are the tails of SFT's crosscoders with swapped models. The tail exceeds it if the false
    fraction is at most LEVEL in every seed. It does not if the interval of its percentage over
    seeds does not exceed the null's mean: then the claim is not supported. Undecided otherwise.
    """
    if not null:
        return weaker(stated, UNDECIDED, NO_NULL)
    highest = max(tail.size for tail in null)
    false = max(false_share(tail.size, highest) for tail in sft)
    against = f"{stated.against} False fraction of SFT's features: {false:.0%}."
    stated = stated._replace(against=against)
    if false <= LEVEL:
        return stated
    if not any(tail.size for tail in sft):
        return weaker(stated, UNDECIDED, "")
    chance = mean(tail.percentage for tail in null)
    own = over_seeds([tail.percentage for tail in sft], "", "", chance, one_feature([sft]))
    if own.verdict == NOT_SUPPORTED:
        reason = f"SFT's own {own.estimate:.1f}% do not exceed the {chance:.1f}% of swapped models"
        return weaker(stated, NOT_SUPPORTED, reason)
    reason = f"the false fraction of SFT's features is {false:.0%}, more than {LEVEL:.0%}"
    return weaker(stated, UNDECIDED, reason)


def weaker(stated: Verdict, verdict: str, reason: str) -> Verdict:
    """Return a verdict, or the one of a second condition if that is weaker, with both reasons."""
    order = (NOT_SUPPORTED, UNDECIDED, SUPPORTED)
    weakest = min(stated.verdict, verdict, key=order.index)
    return stated._replace(verdict=weakest, reason=joined(stated.reason, reason))


def specific_features(family: Mapping[str, Any]) -> Verdict:
    """Judge whether SFT makes more specific features than RL, by NRN of the final pairs."""
    specificity = family["specificity"]

    def far(name: str, score: str = "") -> Tail:
        numbers = specificity[name]
        outside = numbers[f"{score}below_0.3"] + numbers[f"{score}above_0.7"]
        return Tail(numbers["alive"], outside, numbers["specific"])

    def both(kind: str = "", score: str = "") -> Tails:
        kind = kind and f"-{kind}"
        seeds = replicates(specificity, f"{FINAL['sft']}{kind}-r")
        return [[far(f"{FINAL[p]}{kind}-r{seed}", score) for p in ("sft", "rl")] for seed in seeds]

    tails = {kind: pairs for kind in ("", *COMPARED) if (pairs := both(kind))}
    more = decoded(specificity, {"SFT": f"{FINAL['sft']}-r0", "RL": f"{FINAL['rl']}-r0"})
    if f"{MATCHED}-r0" in specificity:
        matched = f"{drifted(family.get('drift'))}: {far(f'{MATCHED}-r0').percentage:.1f}%."
        more = f"SFT model as far from base as RL{matched} {more}".strip()
    return more_in_sft("NRN", "below 0.3 or above 0.7", tails, both(score="star_"), more)


def attributed_features(family: Mapping[str, Any]) -> Verdict:
    """Judge the same claim by MAS: features of which one tuned model has most, by seed."""
    every = family["attribution"]

    def both(kind: str = "", score: str = "") -> Tails:
        kind = kind and f"{kind}-"
        trios = [every[f"{kind}r{seed}"] for seed in replicates(every, f"{kind}r")]
        return [
            [
                Tail(trio["alive"], trio[f"{p}{score}_above_0.5"], trio[f"{p}_specific"])
                for p in ("sft", "rl")
            ]
            for trio in trios
        ]

    tails = {kind: trios for kind in ("", *COMPARED) if (trios := both(kind))}
    return more_in_sft("MAS", "above 0.5", tails, both(score="_star"), "")


def replicates(names: Iterable[str], start: str) -> list[str]:
    """Return the replicates of a crosscoder: what follows `start` in its names."""
    return [name.removeprefix(start) for name in names if name.startswith(start)]


def shared_features(family: Mapping[str, Any]) -> Verdict:
    """Judge whether tasks share more features where RL wins than on other questions."""
    seeds = family["evidence"]["features"]
    counts = [seed["protocol"]["all"]["intersection"] for seed in seeds]
    values = excess_overlap(family["evidence"]["overlap"])
    unit = "points: overlap of tasks' features where RL gains, minus the largest elsewhere"
    selected = f"Features selected in all tasks, by seed: {', '.join(map(str, counts))}."
    stated = over_seeds(values, unit, f"{claimed(0)} {selected}")
    if topk := family.get("batch_topk"):
        stated = with_topk(stated, excess_overlap(topk["overlap"]))
        each = [str(seed["protocol"]["all"]["intersection"]) for seed in topk["features"]]
        also = f"Selected with BatchTopK, by seed: {', '.join(each)}."
        stated = stated._replace(against=f"{stated.against} {also}")
    if without := tasks_without_samples(family):
        reason = f"RL wins no question of {', '.join(map(task_title, without))}"
        return stated._replace(verdict=UNDECIDED, reason=reason)
    if not any(counts) and len(counts) >= LEAST_SEEDS:
        return stated._replace(verdict=NOT_SUPPORTED, reason="no feature is selected in all tasks")
    if not all(counts):
        reason = f"{len(counts) - counts.count(0)} of {len(counts)} seeds have such a feature"
        return stated._replace(verdict=UNDECIDED, reason=reason)
    return stated


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
    evidence = family["evidence"]
    judged = evidence["hypotheses"][name]
    measure, questions = judged["measure"], judged["questions"]
    decided = (judged["verdict"], judged["reason"])
    unit = "points" if measure in ("net", "critical") else ""
    unit = f"{unit}: {MEASURES[measure]}, minus the mean of matched controls".lstrip(": ")
    last = [topk_edit(judged), gap_sentence(family["gap"], questions)]
    if "excess" not in judged:
        against = " ".join(filter(None, [effect_sentence(judged), *last]))
        return Verdict(None, None, None, unit, 0.0, against, [], *decided)
    low, high = judged["interval"]
    chance = evidence["questions"][questions]["chance"]
    others = not_compared(judged, evidence["comparisons"].get(judged["target"], ()))
    against = " ".join(
        [
            *controls_of(judged, evidence["features"]),
            *filter(None, [sft_sentence(judged), others, *last]),
            f"The other model's complete state: {signed(judged['ceiling'])} (net). Detectable "
            f"excess: {signed(judged['detectable'])}. Accuracy of guessing: {chance:.0%}.",
        ]
    )
    values = [
        seed[measure] - seed[f"{measure}_controls"]
        for seed in judged["per_seed"]
        if seed.get(measure) is not None and seed.get(f"{measure}_controls") is not None
    ]
    return Verdict(judged["excess"], low, high, unit, 0.0, against, values, *decided)
