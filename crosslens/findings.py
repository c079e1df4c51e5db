"""What the numbers of a study say, in sentences computed from them."""

from typing import Any

from crosslens.results import CONTROLS, SETS


def findings(summary: dict[str, Any]) -> list[str]:
    """What the numbers say, in sentences computed from them and claiming no more."""
    sentences = []
    tasks, unseen = (", ".join(summary["config"]["evaluation"][k]) for k in ("tasks", "unseen"))
    for family in summary["families"].values():
        label = family["label"]
        sentences.append(about_accuracy(label, family["accuracy"]))
        sentences.append(about_specificity(label, family["specificity"]))
        sentences += about_features(label, family)
    sentences.append(
        f"Features were selected on the critical samples of {tasks}, on which their effect is then "
        f"measured: there it is in-sample. The clean test is {unseen}, whose samples had no part "
        "in the selection."
    )
    return sentences


def about_accuracy(label: str, accuracy: dict[str, dict]) -> str:
    """How SFT and RL changed the mean accuracy on math and elsewhere."""
    means = {}
    for variant in ("base", "sft-5", "rl-5"):
        for kind in ("math", "choice"):
            values = [v["accuracy"] for v in accuracy[variant].values() if v["kind"] == kind]
            means[variant, kind] = 100 * sum(values) / len(values)
    parts = []
    for variant, name in (("sft-5", "SFT"), ("rl-5", "RL")):
        math, other = (means[variant, k] - means["base", k] for k in ("math", "choice"))
        parts.append(f"{name} changes math by {math:+.1f} and the other tasks by {other:+.1f}")
    return f"{label}, mean accuracy in points against base: {'; '.join(parts)}."


def about_specificity(label: str, tails: dict[str, dict]) -> str:
    """How many features are specific to a model after SFT and after RL."""
    counts = {p: tails[f"{p}-5-r0"] for p in ("sft", "rl")}
    far = {p: c["below_0.3"] + c["above_0.7"] for p, c in counts.items()}
    return (
        f"{label}, features far from shared (NRN below 0.3 or above 0.7): {far['sft']} of "
        f"{counts['sft']['alive']} alive after SFT, {far['rl']} of {counts['rl']['alive']} after "
        f"RL; standard deviation of NRN {counts['sft']['std']:.3f} and {counts['rl']['std']:.3f}."
    )


def about_features(label: str, family: dict[str, Any]) -> list[str]:
    """Whether the selected features do more than random ones."""
    readout = family["features"]["readout"]
    counts = family["features"]["readouts"][readout]
    said = [
        f"{label}, generalization features by the readout {readout}: {counts['intersection']} in "
        f"all tasks, {counts['majority']} in most. {family['features']['why_empty']}".strip()
    ]
    for target, tasks in family["interventions"].items():
        for kind in SETS:
            if sentence := compare(target, tasks, kind):
                said.append(f"{label}, {sentence}")
    return said


def compare(target: str, tasks: dict[str, dict], kind: str) -> str:
    """In how many tasks a kind of set does more than every random set; "" if there is none."""
    what = "amplifying in base" if target == "base" else "zeroing in RL"
    sign = 1 if target == "base" else -1
    beyond, below, tried, without, chance = [], [], [], [], 0.0
    for task, found in tasks.items():
        if not found.get(kind, {}).get("n_features"):
            continue
        controls = [sign * c for control in CONTROLS for c in found[kind][control]]
        (tried if controls else without).append(task)
        chance += 1 / (1 + len(controls)) if controls else 0
        if controls and sign * found[kind]["change"] > max(controls):
            beyond.append(task)
        if controls and sign * found[kind]["change"] < min(controls):
            below.append(task)
    parts = [exceeding(beyond, below, tried, chance)] if tried else []
    if without:
        parts.append(f"no control of this size in {', '.join(without)}")
    return f"{what} {SETS[kind]}: {'; '.join(parts)}." if parts else ""


def exceeding(beyond: list[str], below: list[str], tried: list[str], chance: float) -> str:
    """How often a set did more than all controls, less than all, and what chance would give."""
    named = [f" ({', '.join(tasks)})" if tasks else "" for tasks in (beyond, below)]
    return (
        f"a larger effect than every random set of as many features in {len(beyond)} of "
        f"{len(tried)} tasks{named[0]}, a smaller one than all of them in {len(below)}{named[1]}; "
        f"by chance each would be about {chance:.1f}"
    )
