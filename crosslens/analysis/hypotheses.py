"""Primary hypotheses: their numbers, corrected for how many there are, and a verdict by a rule.

The rule. A hypothesis claims that both the effect of a set itself and its excess over matched
controls reach the smallest effect of interest. It is *not supported* when the interval of either
excludes that effect, if RL gained on the questions and at least three seeds have a set. Otherwise
it is *supported* when RL gained, there are at least three seeds, each has a set and matched
controls, so many that p can pass (`least_controls`), the Holm-adjusted p-value is at most alpha,
the interval of the excess lies on the claimed side of 0, and so do the effect itself and the excess
of every seed. Else it is *undecided at this size*.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from crosslens.analysis.arms import MATCHED, PATCH, SELECTED, SFT_FEATURES, is_fair
from crosslens.analysis.comparisons import (
    ALONE,
    POINTS,
    Compared,
    Rule,
    compare,
    numbers,
    pair,
)
from crosslens.analysis.controls import PRIMARY
from crosslens.analysis.edits import ZERO, Dose
from crosslens.analysis.outcomes import MEASURES, Benchmark, Run, question_effects
from crosslens.analysis.significance import LEAST_SEEDS, Effects, holm, mcnemar, t_interval
from crosslens.config.sections import CausalProtocolConfig

SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided at this size"
POWER = 2.8  # standard errors of an effect that a two-sided test of 5% finds in four cases of five


class Hypothesis(NamedTuple):
    """A primary hypothesis: an edit of one model does more than its matched controls.

    features: the kind of set, PRIMARY: only that one has `matched_sets` controls in every seed.
    questions: "tasks" (each edited by what was selected on other questions) or "held_out"; `sign`
    is the claimed one.
    """

    target: str
    features: str
    dose: str
    questions: str
    measure: str
    sign: int


def hypotheses_of(protocol: CausalProtocolConfig) -> dict[str, Hypothesis]:
    """Return the primary hypotheses of a configuration's section.

    "zero" edits RL and "amplify" base. Of answers right and of margins the claim is that zeroing
    lowers and amplifying raises them; that changed answers are the other model's, of both.
    """
    edits = {"zero": ("rl", ZERO, -1), "amplify": ("base", Dose("clamp", protocol.amplify), +1)}
    hypotheses = {}
    for name, entry in protocol.hypotheses.items():
        target, dose, sign = edits[entry.edit]
        sign = +1 if entry.measure == "directedness" else sign
        claim = Hypothesis(target, PRIMARY, str(dose), entry.questions, entry.measure, sign)
        hypotheses[name] = claim
    return hypotheses


def judge(
    hypotheses: Mapping[str, Hypothesis],
    runs: Mapping[str, Sequence[Run]],
    benchmark: Benchmark,
    rule: Rule,
    topk: Mapping[str, Sequence[Run]] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the numbers and the verdict of each primary hypothesis.

    `runs` are those of each target, one per seed. `topk` are runs with BatchTopK, which decide
    nothing.
    """
    gaps = {name: gain(benchmark, h) for name, h in hypotheses.items()}
    effects, excesses = (
        {
            name: compare(
                runs.get(h.target, ()),
                benchmark,
                h.questions,
                h.measure,
                rule,
                against=against,
                **arms_of(h),
            )
            for name, h in hypotheses.items()
        }
        for against in (ALONE, MATCHED)
    )
    p_values = {
        name: excess.p(hypotheses[name].sign) if excess else 1.0
        for name, excess in excesses.items()
    }
    adjusted = holm(p_values)
    needed = least_controls(rule.alpha, len(hypotheses))
    judged = {}
    for name, h in hypotheses.items():
        own, gap = runs.get(h.target, ()), gaps[name]
        effect, excess = effects[name], excesses[name]
        counts = {"seeds": len(own), "needed": needed}
        judged[name] = (
            h._asdict()
            | {"seeds": len(own), "seeds_with_set": len(effect.values) if effect else 0}
            | {"controls_needed": needed, "effect": alone_numbers(effect)}
            | evidence(h, excess, own, benchmark)
            | {"sft_control": sft_control(h, runs, benchmark, rule)}
            | with_batch_topk(h, topk, benchmark, rule)
            | {"rl_gain": gap, "p": p_values[name], "p_holm": adjusted[name]}
            | verdict(h, effect, excess, adjusted[name], gap, rule, **counts)
        )
    return judged


def alone_numbers(effect: Compared | None) -> dict[str, Any] | None:
    """Return what a set does by itself, on all questions that it edits; None without a set."""
    if effect is None:
        return None
    return {
        "estimate": float(np.mean(effect.per_seed())),
        "interval": list(effect.interval()),
        "seed_interval": list(t_interval(effect.per_seed())),
        "questions": effect.questions(),
    }


def arms_of(hypothesis: Hypothesis) -> dict[str, str]:
    """Return what names the arms of a hypothesis."""
    return {"design": "protocol", "features": hypothesis.features, "dose": hypothesis.dose}


def least_controls(alpha: float, hypotheses: int) -> int:
    """Return how many control sets let the smallest p-value, 1 / (1 + sets), pass Holm's first
    step: hypotheses / alpha - 1."""
    return math.ceil(round(hypotheses / alpha, 6)) - 1


def gain(benchmark: Benchmark, hypothesis: Hypothesis) -> float:
    """Return what RL gained over base on a hypothesis's questions, in points; NaN without any.

    These are the critical samples alone if its measure is about them.
    """
    chosen = benchmark.groups()[hypothesis.questions]
    if hypothesis.measure == "critical":
        chosen = chosen & benchmark.critical
    if not chosen.any():
        return np.nan
    return 100 * (benchmark.accuracy("rl", chosen) - benchmark.accuracy("base", chosen))


def evidence(
    hypothesis: Hypothesis, excess: Compared | None, runs: Sequence[Run], benchmark: Benchmark
) -> dict[str, Any]:
    """Return the numbers of one hypothesis, by seed and together.

    `ceiling` is the net effect of the other model's complete state in place of this one's.
    """
    chosen = benchmark.groups()[hypothesis.questions]
    seeds = [seed_numbers(hypothesis, run, benchmark, chosen) for run in runs]
    patches = [(run, run.find(kind=PATCH)) for run in runs]
    ceilings = [
        100 * float(question_effects(run, benchmark, arms, "net", chosen).values()[0])
        for run, arms in patches
        if arms
    ]
    together: dict[str, Any] = {
        "n_questions": int(chosen.sum()),
        "per_seed": seeds,
        "ceiling": float(np.mean(ceilings)) if ceilings else None,
    }
    if excess is None:
        return together
    low, high = excess.interval()
    seed_low, seed_high = t_interval(excess.per_seed())
    total = numbers(excess)
    return together | {
        "estimate": total["value"],
        "controls": {
            "count": total["controls"],
            "mean": total["control_mean"],
            "low": total["control_low"],
            "high": total["control_high"],
            "largest_scaling": largest_scaling(excess, runs),
        },
        "excess": total["excess"],
        "interval": [low, high],
        "seed_interval": [seed_low, seed_high],
        "detectable": max(float(POWER * np.nanstd(excess.draws)), excess.reach),
    }


def largest_scaling(excess: Compared, runs: Sequence[Run]) -> float:
    """Return the largest factor, or inverse of one, that gave a control its set's size."""
    by_seed = {run.replicate: run for run in runs}
    factors = [
        factor
        for each in excess.pairs
        for arm in each.arms[1:]
        for place, factor in by_seed[each.replicate].arms[arm]["factors"].items()
        if factor and is_fair(by_seed[each.replicate].arms[arm], place)
    ]
    return max((max(factor, 1 / factor) for factor in factors), default=1.0)


def sft_control(
    hypothesis: Hypothesis,
    runs: Mapping[str, Sequence[Run]],
    benchmark: Benchmark,
    rule: Rule,
) -> dict[str, Any] | None:
    """Return the effect in the SFT model, a control, by the hypothesis's measure; None without it.

    Where RL is edited: the same edit of the SFT model, against its controls. Where base is: the
    selected set against features selected for SFT (`control_mean` is theirs).
    """
    if hypothesis.target == "base":
        return other_runs(hypothesis, runs.get("base", ()), benchmark, rule, against=SFT_FEATURES)
    return other_runs(hypothesis, runs.get("sft", ()), benchmark, rule)


def with_batch_topk(
    hypothesis: Hypothesis,
    runs: Mapping[str, Sequence[Run]] | None,
    benchmark: Benchmark,
    rule: Rule,
) -> dict[str, Any]:
    """Return what runs with BatchTopK say of a hypothesis, as an entry; none without such runs."""
    if not runs:
        return {}
    own = runs.get(hypothesis.target, ())
    return {"batch_topk": other_runs(hypothesis, own, benchmark, rule)}


def other_runs(
    hypothesis: Hypothesis,
    runs: Sequence[Run],
    benchmark: Benchmark,
    rule: Rule,
    *,
    against: str = MATCHED,
) -> dict[str, Any] | None:
    """Return what other runs, or other comparisons, say of a hypothesis; None if nothing."""
    where, which = hypothesis.questions, arms_of(hypothesis)
    compared = compare(runs, benchmark, where, hypothesis.measure, rule, against=against, **which)
    if compared is None:
        return None
    kept = ("value", "control_mean", "controls", "excess", "low", "high", "seeds", "compared")
    total = numbers(compared)
    return {name: total[name] for name in kept}


def seed_numbers(
    hypothesis: Hypothesis, run: Run, benchmark: Benchmark, chosen: Bool[np.ndarray, " q"]
) -> dict[str, Any]:
    """Return what one seed's set does: features, won and lost questions, McNemar's p-value."""
    which = arms_of(hypothesis)
    own = run.find(kind=SELECTED, **which)[:1]
    row: dict[str, Any] = {"replicate": run.replicate}
    if not own:
        return row | {"n_features": {}}
    against = pair(run, benchmark, hypothesis.questions, MATCHED, **which)
    edited = benchmark.fairly_edited([run.arms[own[0]]])[0]
    where = (against.questions if against else edited)[chosen]
    row |= {"compared": int(where.sum()), "controls": len(against.arms) - 1 if against else 0}
    net = question_effects(run, benchmark, own, "net", chosen).part[0]
    won, lost = int((net > 0).sum()), int((net < 0).sum())
    row |= {"n_features": dict(run.arms[own[0]]["n_features"]), "won": won, "lost": lost}
    row |= {"p_mcnemar": mcnemar(won, lost).p(won + lost), "size": run.arms[own[0]]["size"]}
    for measure in MEASURES:
        every = question_effects(run, benchmark, against.arms if against else own, measure, chosen)
        values = Effects(*(sums * where for sums in every)).values()
        scale = POINTS.get(measure, 1.0)
        row[measure] = float(scale * values[0])
        row[f"{measure}_controls"] = (
            float(scale * np.nanmean(values[1:])) if len(values) > 1 else None
        )
    return row


def lacking(
    excess: Compared | None, gap: float, seeds: int, with_set: int, needed: int
) -> Iterator[str]:
    """Yield what a hypothesis lacks to be supported, whatever its numbers are.

    `with_set` of the `seeds` have a selected set; `needed` is the least number of controls.
    """
    if gap <= 0:
        yield "RL gained nothing on these questions"
    if seeds < LEAST_SEEDS:
        yield f"fewer than {LEAST_SEEDS} seeds"
    if with_set < seeds:
        yield f"{with_set} of {seeds} seeds have a set"
    if (compared := len(excess.values) if excess else 0) < with_set:
        yield f"{compared} of {seeds} seeds have valid controls"
    if excess and excess.controls() < needed:
        yield f"{excess.controls()} valid control sets, fewer than the {needed} needed"
    if excess and not np.ptp(excess.interval()) > 0:
        yield "the interval has no width"


def refuted(
    hypothesis: Hypothesis,
    effect: Compared | None,
    excess: Compared | None,
    gap: float,
    rule: Rule,
) -> str:
    """Return which interval excludes the smallest effect of interest; "" if none does.

    The claim is that both the effect of the set itself and its excess reach it, so either refutes
    it, at 2.5% each. The excess needs as many controls as one hypothesis alone would: over fewer
    its interval is too narrow.
    """
    tested = {"effect": effect}
    if excess and excess.controls() >= least_controls(rule.alpha, 1):
        tested["excess over controls"] = excess
    smallest = rule.smallest * gap if hypothesis.measure in POINTS else 0.0
    for name, compared in tested.items():
        if compared is None or not gap > 0:
            continue
        if np.isfinite(compared.per_seed()).sum() < LEAST_SEEDS:
            continue
        low, high = sorted(hypothesis.sign * bound for bound in compared.interval())
        if high > low and (high < smallest or (high <= 0 and not smallest)):
            excluded = (
                f"an effect of {smallest:.1f} points, {rule.smallest:.0%} of RL's gain"
                if smallest
                else "the claimed direction"
            )
            return f"the {name}, {in_words(compared)}, excludes {excluded}"
    return ""


def in_words(compared: Compared) -> str:
    """Return the mean excess and its interval, as the report writes numbers."""
    low, high = compared.interval()
    return f"{np.nanmean(compared.per_seed()):+.2f} [{low:+.2f}, {high:+.2f}]"


def verdict(
    hypothesis: Hypothesis,
    effect: Compared | None,
    excess: Compared | None,
    p: float,
    gap: float,
    rule: Rule,
    *,
    seeds: int,
    needed: int,
) -> dict[str, str]:
    """Return the verdict by the rule of this module, and its reason.

    `effect` is that of the set itself in the seeds that have one, `excess` that over its controls.
    """
    if reason := refuted(hypothesis, effect, excess, gap, rule):
        return {"verdict": NOT_SUPPORTED, "reason": reason}
    with_set = len(effect.values) if effect else 0
    missing = "; ".join(lacking(excess, gap, seeds, with_set, needed))
    if effect is None or excess is None or missing:
        return {"verdict": UNDECIDED, "reason": missing}
    sign = hypothesis.sign
    mean = float(np.mean(effect.per_seed()))
    nearest = min(sign * bound for bound in excess.interval())
    claims = [  # none of them holds of NaN
        (p <= rule.alpha, f"Holm-adjusted p {p:.3f}"),
        (nearest > 0, "the interval includes 0"),
        (sign * mean > 0, "the effect without controls has the opposite sign"),
        (all(sign * v > 0 for v in excess.per_seed()), "not every seed has the claimed sign"),
    ]
    if failed := "; ".join(text for holds, text in claims if not holds):
        return {"verdict": UNDECIDED, "reason": failed}
    return {"verdict": SUPPORTED, "reason": f"Holm-adjusted p {p:.3f}; all seeds agree"}
