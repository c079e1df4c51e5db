"""What the numbers of a study say, in sentences computed from them."""

from statistics import mean
from typing import Any

from crosslens.analysis.gap_test import ALL
from crosslens.analysis.hypotheses import NOT_SUPPORTED, SUPPORTED, UNDECIDED
from crosslens.config.study_design import FINAL
from crosslens.reporting.tables import CONTROLS, SETS, task_title

POOLS = {"random_alive": "alive", "random_active": "active"}
TINY = 1e-9  # of rounding
KEPT = {  # by the verdict of the gap test
    SUPPORTED: "Most of RL's gain is kept where both streams are reconstructed",
    NOT_SUPPORTED: "Most of RL's gain is lost where both streams are reconstructed",
    UNDECIDED: "Whether most of RL's gain is kept is undecided at this size",
}


def findings(summary: dict[str, Any]) -> list[str]:
    """Return what the numbers say, in sentences computed from them that claim no more."""
    sentences = []
    tasks, held_out = (summary["config"]["evaluation"][k] for k in ("tasks", "heldout_tasks"))
    for family in summary["families"].values():
        label = family["label"]
        sentences.append(about_accuracy(label, family["accuracy"], tasks, held_out))
        sentences += about_turnover(label, family["critical"])
        sentences.append(about_specificity(label, family["specificity"]))
        sentences += about_features(label, family)
    sentences.append(
        f"The sets above were selected on critical samples of {listed(tasks)}. Their effects on "
        f"these tasks are in-sample. The held-out tasks ({listed(held_out)}) were not used for "
        "selection. One set is edited in all tasks, so its effects on the tasks are not "
        "independent: chance can favour several tasks at once."
    )
    return sentences


def listed(tasks: list[str]) -> str:
    """Return tasks by their names for readers."""
    return ", ".join(map(task_title, tasks))


def about_accuracy(
    label: str, accuracy: dict[str, dict], tasks: list[str], held_out: list[str]
) -> str:
    """Return how SFT and RL changed the mean accuracy on each group of tasks."""
    math = [
        task for task, task_numbers in accuracy["base"].items() if task_numbers["kind"] == "math"
    ]
    groups = {"math": math, "selection tasks": tasks, "held-out tasks": held_out}
    parts = []
    for variant, name in ((FINAL["sft"], "SFT"), (FINAL["rl"], "RL")):
        gains = {
            group: mean(
                100 * (accuracy[variant][t]["accuracy"] - accuracy["base"][t]["accuracy"])
                for t in names
            )
            for group, names in groups.items()
            if names
        }
        parts.append(f"{name}: {', '.join(f'{gain:+.1f} on {g}' for g, gain in gains.items())}")
    return f"{label}, change of mean accuracy from base in points. {'. '.join(parts)}."


def about_turnover(label: str, critical: dict[str, dict]) -> list[str]:
    """Return the tasks on which RL lost at least as many samples as it gained; [] without any."""
    where = [t for t, n in critical.items() if n["lost"] and n["lost"] >= n["critical"]]
    counts = ", ".join(
        f"{task_title(t)} (gained {critical[t]['critical']}, lost {critical[t]['lost']})"
        for t in where
    )
    sentence = (
        f"{label}: RL lost at least as many samples as it gained on {counts}. On such a task, the "
        "critical samples are no sign of generalization."
    )
    return [sentence] if where else []


def about_specificity(label: str, tails: dict[str, dict]) -> str:
    """Return how many features are specific to a model after SFT and after RL."""
    counts = {p: tails[f"{FINAL[p]}-r0"] for p in ("sft", "rl")}
    far = {p: c["below_0.3"] + c["above_0.7"] for p, c in counts.items()}
    spread = {p: "–" if c["std"] is None else f"{c['std']:.3f}" for p, c in counts.items()}
    specific = {p: c["specific"] for p, c in counts.items()}
    return (
        f"{label}, alive features with NRN below 0.3 or above 0.7. SFT: {far['sft']} of "
        f"{counts['sft']['alive']}. RL: {far['rl']} of {counts['rl']['alive']}. Latent scaling "
        f"confirms {specific['sft']} and {specific['rl']} of them as specific to a model. Standard "
        f"deviation of NRN: {spread['sft']} for SFT, {spread['rl']} for RL."
    )


def about_features(label: str, family: dict[str, Any]) -> list[str]:
    """Return how many features are selected, and how their effects compare with random sets."""
    readout = family["features"]["readout"]
    counts = family["features"]["readouts"][readout]
    said = [
        f"{label}, generalization features (encoder input: {readout}): {counts['intersection']} "
        f"selected in all tasks, {counts['majority']} selected in most tasks. "
        f"{family['features']['why_empty']}".strip()
    ]
    compared = [
        f"{label}, {sentence}"
        for target, tasks in family["interventions"].items()
        for kind in SETS
        if (sentence := compare(target, tasks, kind))
    ]
    how = (
        f"{label}, effects of these sets on critical samples. Each line counts the tasks in which "
        "the effect is larger, or smaller, than those of all random control sets by more than one "
        "sample. It also gives the most tasks that chance would give in each direction."
    )
    return [*said, how, *compared] if compared else said


def compare(target: str, tasks: dict[str, dict], kind: str) -> str:
    """Compare a kind of set with each kind of random sets; return "" if it has no feature."""
    edit = "amplified in base" if target == "base" else "zeroed in RL"
    sign = 1 if target == "base" else -1
    edited = {task: kinds for task, kinds in tasks.items() if kinds.get(kind, {}).get("n_features")}
    if not edited:
        return ""
    parts = [against(edited, kind, pool, sign) for pool in reversed(CONTROLS)]
    return f"features {SETS[kind]}, {edit}: {'; '.join(parts)}."


def against(edited: dict[str, dict], kind: str, pool: str, sign: int) -> str:
    """Return in how many tasks the effect of a set is beyond those of all random sets of one pool.

    By more than one sample, in each direction; and how many tasks chance gives at most.
    """
    tried = {task: kinds for task, kinds in edited.items() if kinds[kind][pool]}
    if not tried:
        return f"there is no random {POOLS[pool]} set of this size"
    more, less, chance = [], [], 0.0
    for task, kinds in tried.items():
        effect, controls = sign * kinds[kind]["change"], [sign * c for c in kinds[kind][pool]]
        sample = 100 / kinds["n_samples"]
        chance += 1 / (1 + len(controls))
        if effect > max(controls) + sample + TINY:
            more.append(f"{task_title(task)} {kinds[kind]['change']:+.1f}")
        if effect < min(controls) - sample - TINY:
            less.append(f"{task_title(task)} {kinds[kind]['change']:+.1f}")
    return (
        f"effect larger than all random {POOLS[pool]} sets in {len(more)} of {len(tried)} tasks"
        f"{bracketed(more)}, smaller than all of them in {len(less)}{bracketed(less)}; "
        f"chance gives at most {chance:.1f} tasks in each direction"
    )


def bracketed(tasks: list[str]) -> str:
    """Return tasks in brackets; "" without any."""
    return f" ({', '.join(tasks)})" if tasks else ""


def about_gap(label: str, rows: list[dict[str, Any]]) -> str:
    """Return whether the reconstruction keeps RL's gain, by the gap test on all questions.

    The encoder input is swap, so no model's reconstruction sees another model.
    """
    keys = ("model", "task", "code")
    by_key = {tuple(row[key] for key in keys): row for row in rows}
    gap, sft = by_key["rl", ALL, "swap"], by_key["sft", ALL, "swap"]
    low, high = gap["gain_low"], gap["gain_high"]
    own = f"RL gains {gap['gain']:+.1f} points [{low:+.1f}, {high:+.1f}] over base"
    spliced = (
        f"where each model's own reconstruction (encoder input swap) replaces its stream, it gains "
        f"{gap['gain_spliced']:+.1f} (base {gap['base_spliced']:.0%} instead of "
        f"{gap['base']:.0%}, RL {gap['tuned_spliced']:.0%} instead of {gap['tuned']:.0%})"
    )
    share = ""
    if gap["recovered"] is not None:
        low, high = gap["recovered_low"], gap["recovered_high"]
        share = f", which is {gap['recovered']:.0%} of the gain [{low:.0%}, {high:.0%}]"
    control = f"SFT, as a control: {sft['gain']:+.1f}, reconstructed {sft['gain_spliced']:+.1f}"
    if gap["gain_low"] <= 0:
        none = "RL lost accuracy" if gap["gain_high"] < 0 else "RL's gain is not above 0"
        kept = f"{none} at this size, so there is no gain to keep"
    else:
        kept = KEPT[gap["verdict"]]
    return f"{label}, on all questions: {own}; {spliced}{share}. {kept}. {control}."
