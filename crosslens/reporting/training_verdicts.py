"""Verdicts on claims about training: how top lists change from checkpoint to checkpoint.

Only a crosscoder of base and all checkpoints (`checkpoints` in `crosscoder.evidence`) decides them.
In it a feature is the same one at every checkpoint, and shuffled norms give a null. Crosscoders of
single checkpoints also differ by chance, and there is one of each: their overlap is only stated.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from crosslens.analysis.hypotheses import NOT_SUPPORTED, SUPPORTED, UNDECIDED
from crosslens.reporting.verdict_texts import between_pairs, claimed, reproduced, within_one
from crosslens.reporting.verdicts import Verdict

HALF = 0.5  # of a top list
TINY = 1e-9  # of rounding
ONE_CHECKPOINT = "only one checkpoint"
ONE_CROSSCODER = "in one crosscoder of all checkpoints, from one seed"
PAIRED = (
    "each checkpoint has its own crosscoder, and these also differ by chance; checkpoints in "
    "crosscoder.evidence decides"
)


class Null(NamedTuple):
    """What two lists share with norms shuffled over models, as a fraction of a list.

    The mean and the 5% and 95% quantiles.
    """

    mean: float
    low: float
    high: float


def early_features(family: Mapping[str, Any]) -> Verdict:
    """Judge whether SFT's features come early and stay: how much of the last list the first has.

    It must be more than half, and more than 95% of shuffled norms give.
    """
    lists = family["turnover"]["sft"]
    unit = "fraction of the last top list that the first one has"
    if len(lists["checkpoints"]) < 2:
        return Verdict(None, None, None, unit, HALF, "", [], UNDECIDED, ONE_CHECKPOINT)
    null = null_of(lists)
    chance, most = (null.mean, max(HALF, null.high)) if null else (None, HALF)
    stated = judged(kept(lists), unit, chance, most)._replace(
        against=" ".join([claimed(most), *beside("SFT", lists)])
    )
    return if_reproduced(stated, lists["other_seed"])


def turnover(family: Mapping[str, Any]) -> Verdict:
    """Judge whether RL's list changes more than SFT's, from first to last and in each step.

    The null is SFT's 95% quantile less RL's 5% quantile: hardly more differs by chance.
    """
    sft, rl = (family["turnover"][p] for p in ("sft", "rl"))
    unit = "points: percentage of the last top list that the first one lacks, RL minus SFT"
    if min(len(lists["checkpoints"]) for lists in (sft, rl)) < 2:
        return Verdict(None, None, None, unit, 0.0, "", [], UNDECIDED, ONE_CHECKPOINT)
    steps = [f"{a}-{b}" for a, b in pairwise(rl["checkpoints"])]
    by_step = [less(kept(sft, step), kept(rl, step)) for step in steps]
    known = [value for value in by_step if value is not None]
    sft_null, rl_null, chance, most, doubt = null_of(sft), null_of(rl), None, 0.0, ""
    if sft_null and rl_null:
        chance = less(sft_null.mean, rl_null.mean)
        most = max(0.0, 100 * (sft_null.high - rl_null.low))
        doubt = doubted(by_step, [kept(rl, step) or 0.0 for step in steps], rl_null)
    texts = [claimed(most), *beside("SFT", sft), *beside("RL", rl)]
    stated = judged(less(kept(sft), kept(rl)), unit, chance, most)
    stated = stated._replace(against=" ".join(texts), seeds=known, each="step")
    if stated.verdict == SUPPORTED and doubt:
        return stated._replace(verdict=UNDECIDED, reason=doubt)
    return if_reproduced(stated, [*sft["other_seed"], *rl["other_seed"]])


def doubted(by_step: Sequence[float | None], shared: Sequence[float], null: Null) -> str:
    """Return why RL's list may not keep changing although the first and the last one differ.

    `by_step` has by how much more it changes than SFT's in each step, `shared` what adjacent lists
    of RL share. Lists of noise change too, but even adjacent ones share no more than chance gives.
    """
    if any(value is None or value <= TINY for value in by_step):
        return "between two checkpoints, RL's list changes no more than SFT's"
    if min(shared) <= null.high + TINY:
        return "adjacent lists of RL share no more than with shuffled norms: they may be noise"
    return ""


def judged(estimate: float | None, unit: str, chance: float | None, most: float) -> Verdict:
    """Return the verdict on an estimate from one crosscoder of all checkpoints.

    Supported above `most`, which the null hardly exceeds; not supported if it is at most `chance`,
    the null's mean. `chance` is None without that crosscoder.
    """
    verdict, reason = UNDECIDED, ONE_CROSSCODER
    if estimate is None:
        reason = "a list is empty"
    elif chance is None:
        reason = PAIRED
    elif estimate > most + TINY:
        verdict = SUPPORTED
    elif estimate <= chance + TINY:
        verdict = NOT_SUPPORTED
    return Verdict(estimate, None, None, unit, most, "", [], verdict, reason)


def kept(lists: Mapping[str, Any], step: str = "") -> float | None:
    """Return the fraction of a checkpoint's list that an earlier one has; None for empty lists.

    In the crosscoder of all checkpoints if there is one. Without a step: of the last, by the first.
    """
    common = (lists["together"] or lists)["common"]
    count, size = common.get(step or first_to_last(lists), (0, 0))
    return count / size if size else None


def less(a: float | None, b: float | None) -> float | None:
    """Return the difference of two fractions in points; None if one is unknown."""
    return None if a is None or b is None else 100 * (a - b)


def null_of(lists: Mapping[str, Any]) -> Null | None:
    """Return the null of the crosscoder of all checkpoints; None without one or for empty lists."""
    if not (together := lists["together"]):
        return None
    size = together["common"][first_to_last(lists)][1]
    return Null(**{k: n / size for k, n in together["null"].items()}) if size else None


def first_to_last(lists: Mapping[str, Any]) -> str:
    """Return the name of the first and the last checkpoint in the counts of common features."""
    return f"{lists['checkpoints'][0]}-{lists['checkpoints'][-1]}"


def beside(name: str, lists: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is stated beside a verdict on a paradigm's lists, in sentences."""
    yield from within_one(name, lists["together"], first_to_last(lists))
    yield between_pairs(name, lists, first_to_last(lists))
    yield reproduced(f"{name}'s last list", lists["other_seed"])


def if_reproduced(stated: Verdict, other_seed: Sequence[float]) -> Verdict:
    """Return a verdict on top lists, undecided unless other seeds reproduce half of each list."""
    if stated.verdict == UNDECIDED or (other_seed and min(other_seed) >= HALF):
        return stated
    reason = "another seed reproduces less than half of a list" if other_seed else "only one seed"
    return stated._replace(verdict=UNDECIDED, reason=reason)
