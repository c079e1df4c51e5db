"""The text of the report's verdicts: the rule, claims of hypotheses, and parts of sentences."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

RULE = (
    "Supported: the 95% interval of the estimate lies on the claimed side of the null.",
    "Not supported: the interval lies on the other side of the null, or ends at it.",
    "Undecided at this size: the interval contains the null, or there is no interval because "
    "there are fewer than two seeds.",
    "NRN and MAS: the null is 0, or the difference between SFT and RL when the models of each row "
    "are swapped at random, if that difference is larger.",
    "Top lists: undecided unless another seed of the crosscoder reproduces at least half of each "
    "list.",
    "Features selected in all tasks: undecided if RL wins no question of a task, or if only some "
    "seeds have such a feature. Not supported if no seed has one.",
    "Interventions: supported only if, in addition, the effect itself has the claimed sign, all "
    "seeds agree, and the p-value is small enough after Holm's correction for the number of "
    "primary hypotheses. Not supported if the interval excludes the smallest effect of interest.",
    "Intervals: Student's t over seeds; Wilson's for the fraction of a list; for interventions, a "
    "bootstrap over seeds, questions and controls.",
    "Several families: a verdict holds if it is the same in all of them. Otherwise the claim is "
    "undecided.",
)
MEASURES = {
    "net": "net change of accuracy",
    "margin": "change of the correct choice's margin in nats",
    "directedness": "fraction of changed answers that are the other model's",
    "critical": "change of accuracy on critical samples",
}
KINDS = {
    "intersection": "the features of all tasks",
    "majority": "the features of most tasks",
    "contrast": "the features selected by contrast",
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
    return f"{edit} {KINDS[hypothesis['features']]} {effect}" + (
        where if hypothesis["questions"] == "held_out" else ""
    )


def claimed(null: float, sign: int = 1) -> str:
    """Return the side of the null that a claim is about."""
    return f"Claimed: {'above' if sign > 0 else 'below'} {round(null, 2):g}."


def by_seed(pairs: Iterable[Sequence[float]]) -> str:
    """Return the percentages of SFT and RL, a pair a seed, as a sentence."""
    sft, rl = zip(*pairs, strict=True)
    return f"By seed: SFT {listed(sft)}, RL {listed(rl)}."


def reproduced(name: str, other_seed: Sequence[float]) -> str:
    """Return how much of a list other seeds of its crosscoder have, as a sentence."""
    if not other_seed:
        return f"There is no other seed of {name}."
    return f"Other seeds reproduce {shares(other_seed)} of {name}."


def listed(values: Iterable[float]) -> str:
    """Return percentages as text."""
    return ", ".join(f"{value:.1f}%" for value in values)


def shares(values: Sequence[float]) -> str:
    """Return fractions as text."""
    return ", ".join(f"{value:.0%}" for value in values)
