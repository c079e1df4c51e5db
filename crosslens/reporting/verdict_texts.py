"""The text of the report's verdicts: the rule, claims of hypotheses, and parts of sentences."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from crosslens.analysis.arms import MOST
from crosslens.analysis.controls import FARTHEST
from crosslens.analysis.significance import LEAST_SEEDS
from crosslens.analysis.tails import LEVEL
from crosslens.reporting.tables import OTHERS

RULE = (
    "Supported: the 95% interval of the estimate lies on the claimed side of the null.",
    "Not supported: the interval lies on the other side of the null, or ends at it.",
    "Undecided at this size: the interval contains the null. Also if a seed has no value, if there "
    f"are fewer than {LEAST_SEEDS} seeds, or if they differ by at most one feature: such an "
    "interval does not say how much seeds differ.",
    "NRN and MAS: the null is 0, or the difference between SFT and RL when the models of each row "
    "are swapped at random, if that difference is larger. In addition, SFT's own features must "
    "exceed those of its crosscoders with swapped models, which cannot have specific features. "
    f"Supported: the false fraction, (1 + their count) / (SFT's count), is at most {LEVEL:.0%} in "
    "every seed. Not supported: the interval of SFT's percentage does not exceed theirs. Undecided "
    "otherwise, and without them. How many features latent scaling confirms is stated; it decides "
    "nothing.",
    "Artifact of L1: supported by crosscoders with an L1 penalty, but not supported by those with "
    "BatchTopK. Their null is 0, and the rules for seeds are the same. Where they have one seed, "
    "their interval takes the spread over seeds from the crosscoders with L1. Claims about "
    "checkpoints are not tested with BatchTopK. For interventions, the effect of BatchTopK's "
    "features (one seed) is stated and decides nothing.",
    "Checkpoints: judged within one crosscoder of base and all checkpoints; undecided without it. "
    "The null is what top lists share if each feature's norms are shuffled over the models. "
    "SFT's features stay: its first and last list share more than half, and more than in 95% of "
    "draws. RL's keep changing: its first and last list share less than SFT's, by more than SFT's "
    "95% quantile less RL's 5% quantile; RL's list changes more in every step; and its adjacent "
    "lists share more than in 95% of draws, as lists of noise do not. Not supported: no more than "
    "the null's mean. Undecided otherwise, and unless other seeds of the last checkpoint's "
    "crosscoder reproduce at least half of each list.",
    "Features selected in all tasks: undecided if RL wins no question of a task, or if only some "
    f"seeds have such a feature. Not supported if none of at least {LEAST_SEEDS} seeds has one.",
    "Interventions edit the features selected in all tasks, topped up by those most consistent "
    "over tasks where they are few. Supported only if, in addition, the effect itself has the "
    "claimed sign, every seed has a set, all seeds agree, and the p-value is small enough after "
    "Holm's correction for the number of primary hypotheses. This needs (number of hypotheses) / "
    "alpha - 1 valid control sets.",
    "Interventions are not supported if the interval of the effect itself, or of its excess over "
    "controls, excludes the smallest effect of interest: the claim is that both reach it. This "
    f"needs a gain of RL on the questions and {LEAST_SEEDS} seeds with a set; for the excess also "
    "1 / alpha - 1 valid control sets. Only questions that are edited count.",
    "In a valid control set, each feature is within "
    f"{FARTHEST:g} calipers of the one that it replaces. Its edit has the same size, by a scaling "
    f"of less than {MOST:g}. Controls may be features that tasks select but the set lacks: they "
    "may carry a part of the effect, which makes the comparison conservative.",
    "Intervals: Student's t over seeds; for interventions, a bootstrap over seeds, questions and "
    "controls, at least as wide as Clopper and Pearson's for no changed passage. Claims about "
    "checkpoints have none: there is one seed of that crosscoder.",
    "Several families: a verdict holds if it is the same in all of them. Otherwise the claim is "
    "undecided.",
)
MEASURES = {
    "net": "net change of accuracy",
    "margin": "change of the correct choice's margin in nats",
    "directedness": "fraction of changed answers that are the other model's",
    "critical": "change of accuracy on critical samples",
}


def claim_of(hypothesis: Mapping[str, Any]) -> str:
    """Return a primary hypothesis as a claim."""
    base = hypothesis["target"] == "base"
    edit = "Amplifying" if base else "Zeroing"
    edited, other = ("base", "RL") if base else ("RL", "base")
    change = "raises" if base else "lowers"
    effect = {
        "net": f"{change} {edited}'s accuracy",
        "margin": f"{change} {edited}'s margin of the correct choice",
        "directedness": f"turns {edited}'s answers into {other}'s",
        "critical": f"{change} {edited}'s accuracy on critical samples",
    }[hypothesis["measure"]]
    where = " of held-out tasks" if hypothesis["measure"] == "critical" else " on held-out tasks"
    return f"{edit} the features most consistent over tasks {effect}" + (
        where if hypothesis["questions"] == "held_out" else ""
    )


def claimed(null: float, sign: int = 1) -> str:
    """Return the side of the null that a claim is about."""
    return f"Claimed: {'above' if sign > 0 else 'below'} {round(null, 2):g}."


def signed(value: float | None) -> str:
    """Return a number with its sign; a dash without one."""
    return "–" if value is None else f"{value:+.2f}"


def controls_of(
    hypothesis: Mapping[str, Any], features: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield what the controls of a hypothesis are and do; `features` are those of evidence.json."""
    controls = hypothesis["controls"]
    mean, low, high = (signed(controls[name]) for name in ("mean", "low", "high"))
    apart = [seed["matching"]["worst_caliper"] for seed in features]
    worst = max((value for value in apart if value is not None), default=None)
    distinct = ", ".join(str(seed["matching"]["features"]) for seed in features)
    yield claimed(0, hypothesis["sign"])
    yield effect_sentence(hypothesis)
    yield (
        f"{controls['count']} valid matched control sets; to be supported, "
        f"{hypothesis['controls_needed']} are needed (worst match "
        f"{'–' if worst is None else f'{worst:.1f}'} calipers, largest scaling "
        f"{controls['largest_scaling']:.1f}): mean {mean}, range {low} to {high}."
    )
    yield f"Different features in the control sets of a split, by seed at least {distinct}."
    if hypothesis["seeds_with_set"] < hypothesis["seeds"]:
        yield f"{hypothesis['seeds_with_set']} of {hypothesis['seeds']} seeds have a set."
    compared = [seed.get("compared", 0) for seed in hypothesis["per_seed"]]
    if min(compared, default=0) < hypothesis["n_questions"]:
        counts = ", ".join(map(str, compared))
        yield f"Edited questions by seed: {counts} of {hypothesis['n_questions']}."


def effect_sentence(hypothesis: Mapping[str, Any]) -> str:
    """Return the effect of the selected features themselves, as a sentence."""
    effect = hypothesis["effect"]
    if effect is None:
        return "No seed has a set."
    low, high = map(signed, effect["interval"])
    return (
        f"Selected features: {signed(effect['estimate'])} [{low}, {high}] on "
        f"{effect['questions']} edited questions."
    )


def not_compared(hypothesis: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return which edits of `OTHERS` are missing beside the primary set, as a sentence; "" if none.

    `rows` are the comparisons of evidence.json for the hypothesis's target.
    """
    known = {
        row["against"]
        for row in rows
        if (row["features"], row["design"]) == (hypothesis["features"], "protocol")
        and row["questions"] == hypothesis["questions"]
    }
    missing = [name for kind, name in OTHERS.items() if kind not in known]
    return f"Without a set to edit, or of another size: {', '.join(missing)}." if missing else ""


def sft_sentence(hypothesis: Mapping[str, Any]) -> str:
    """Return the effect of the same edit in SFT, the control of a hypothesis, as a sentence."""
    sft = hypothesis["sft_control"]
    if sft is None:
        return "SFT as a control: no valid comparison."
    value, other = signed(sft["value"]), signed(sft["control_mean"])
    excess, low, high = (signed(sft[name]) for name in ("excess", "low", "high"))
    if hypothesis["target"] == "base":
        return f"SFT's features instead: {other}; difference {excess} [{low}, {high}]."
    return (
        f"The same edit of the SFT model: {value}, minus the mean of {sft['controls']} controls "
        f"{excess} [{low}, {high}]."
    )


def topk_edit(hypothesis: Mapping[str, Any]) -> str:
    """Return what the features of a crosscoder with BatchTopK do; "" without one."""
    if "batch_topk" not in hypothesis:
        return ""
    topk = hypothesis["batch_topk"]
    if topk is None:
        return "Features selected with BatchTopK: no valid comparison."
    excess, low, high = (signed(topk[name]) for name in ("excess", "low", "high"))
    return (
        f"Features selected with BatchTopK (one seed): {signed(topk['value'])}, minus the mean of "
        f"{topk['controls']} controls {excess} [{low}, {high}]."
    )


def by_seed(pairs: Iterable[Sequence[float]], label: str = "By seed") -> str:
    """Return the percentages of SFT and RL, by seed, as a sentence."""
    sft, rl = zip(*pairs, strict=True)
    return f"{label}: SFT {listed(sft)}, RL {listed(rl)}."


def corrected(measure: str, pairs: Sequence[Sequence[float]], interval: Sequence[float]) -> str:
    """Return the percentages of SFT and RL by a score without shrinkage, by seed.

    `interval` is that of the difference; NaN for one seed.
    """
    mean = sum(sft - rl for sft, rl in pairs) / len(pairs)
    low, high = interval
    known = "" if low != low else f" [{low:+.2f}, {high:+.2f}]"
    return f"With {measure}, difference {mean:+.2f}{known}. {by_seed(pairs)}"


def topk_sentence(topk: Mapping[str, Any]) -> str:
    """Return what BatchTopK says of a claim."""
    low, high = topk["low"], topk["high"]
    interval = "" if low is None else f" [{low:+.2f}, {high:+.2f}]"
    why = f" ({topk['reason']})" if topk["reason"] else ""
    estimate = f"{signed(topk['estimate'])}{interval}"
    return f"With BatchTopK, difference {estimate}: {topk['verdict']}{why}."


def drifted(drift: Mapping[str, float] | None) -> str:
    """Return how far the drift-matched model is from base, against RL."""
    if not drift:
        return ""
    ratio = f", at {drift['drift'] / drift['rl']:.2f} times RL's drift" if drift["rl"] else ""
    return f" ({drift['alpha']:.0%} of the way from base{ratio})"


def decoded(tails: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> str:
    """Return how well features with a high NRN are decoded from base and from their own model."""
    parts = []
    for label, name in names.items():
        r2 = tails[name].get("r2_above_0.7", {})
        if r2.get("base") is not None:
            parts.append(f"{label} {r2['base']:.2f} and {r2['tuned']:.2f}")
    if not parts:
        return ""
    return (
        "Median R² by which features with NRN above 0.7 are decoded linearly from base and from "
        f"their own model: {', '.join(parts)}."
    )


def reproduced(name: str, other_seed: Sequence[float]) -> str:
    """Return how much of a list other seeds of its crosscoder have, as a sentence."""
    if not other_seed:
        return f"There is no other seed of {name}."
    return f"Other seeds reproduce {shares(other_seed)} of {name}."


def within_one(name: str, together: Mapping[str, Any] | None, lists: str) -> Iterator[str]:
    """Yield what two lists share within one crosscoder of base and all checkpoints, if it exists.

    `lists` names their checkpoints, as "1-5".
    """
    if together:
        count, size = together["common"][lists]
        mean, low, high = (together["null"][key] for key in ("mean", "low", "high"))
        yield (
            f"{name}'s first and last list share {count} of {size} in one crosscoder of all "
            f"checkpoints, with norms shuffled over models {mean:.0f} (90%: {low:.0f} to "
            f"{high:.0f})."
        )


def between_pairs(name: str, turnover: Mapping[str, Any], lists: str) -> str:
    """Return what the same lists share between the crosscoders of two checkpoints."""
    count, size = turnover["common"].get(lists, (0, 0))
    same = turnover["index"].get(lists, (0, 0))[0]
    return (
        f"{name}'s lists of separate crosscoders share {count} of {size} by decoder direction, "
        f"{same} by index (as in the paper)."
    )


def confirmed(tails: Sequence[Any]) -> str:
    """Return how many features of SFT's tails latent scaling confirms, by seed."""
    if not any(tail.size for tail in tails):
        return "SFT has no such feature"
    counts = ", ".join(f"{tail.specific} of {tail.size}" for tail in tails)
    return f"latent scaling confirms {counts} of SFT's features"


def gap_sentence(rows: Sequence[Mapping[str, Any]], questions: str) -> str:
    """Return what the gap test says of RL's gain on the questions of a hypothesis.

    The encoder input is swap, so that no reconstruction sees another model.
    """
    key = ("rl", questions, "swap")
    gap = next((r for r in rows if (r["model"], r["task"], r["code"]) == key), None)
    if gap is None:
        return ""
    if gap["recovered"] is None:
        return "Gap test: RL's gain on these questions is not above 0."
    low, high = gap["recovered_low"], gap["recovered_high"]
    return (
        f"Gap test: the reconstruction keeps {gap['recovered']:.0%} of RL's gain on these "
        f"questions [{low:.0%}, {high:.0%}]: more than half is {gap['verdict']}."
    )


def listed(values: Iterable[float]) -> str:
    """Return percentages as text."""
    return ", ".join(f"{value:.1f}%" for value in values)


def shares(values: Sequence[float]) -> str:
    """Return fractions as text."""
    return ", ".join(f"{value:.0%}" for value in values)
