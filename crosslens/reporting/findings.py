"""What the numbers of a study say, in sentences computed from them."""

from statistics import mean
from typing import Any

from crosslens.config.study_design import FINAL
from crosslens.reporting.tables import CONTROLS, SETS, task_title

POOLS = {"random_alive": "alive", "random_active": "active"}
TINY = 1e-9  # of rounding


def findings(summary: dict[str, Any]) -> list[str]:
    """Return what the numbers say, in sentences computed from them that claim no more."""
    sentences = []
    tasks, unseen = (summary["config"]["evaluation"][k] for k in ("tasks", "unseen"))
    for family in summary["families"].values():
        label = family["label"]
        sentences.append(about_accuracy(label, family["accuracy"], tasks, unseen))
        sentences += about_turnover(label, family["critical"])
        sentences.append(about_specificity(label, family["specificity"]))
        sentences += about_features(label, family)
    sentences.append(
        f"Features were selected on the critical samples of {listed(tasks)}, so their effect on "
        f"these tasks is in-sample. The clean test is {listed(unseen)}, whose samples were not "
        "used for selection. One set is edited in all tasks, so its effects on different tasks are "
        "not independent: chance can favour several at once."
    )
    return sentences


def listed(tasks: list[str]) -> str:
    """Tasks by their names for readers."""
    return ", ".join(map(task_title, tasks))


def about_accuracy(
    label: str, accuracy: dict[str, dict], tasks: list[str], unseen: list[str]
) -> str:
    """How SFT and RL changed the mean accuracy on math, on the tasks, and on the held-out tasks."""
    math = [task for task, found in accuracy["base"].items() if found["kind"] == "math"]
    groups = {"math": math, "the tasks": tasks, "the held-out tasks": unseen}
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
        parts.append(f"{name} {', '.join(f'{gain:+.1f} on {g}' for g, gain in gains.items())}")
    return f"{label}, mean change of accuracy against base in points: {'; '.join(parts)}."


def about_turnover(label: str, critical: dict[str, dict]) -> list[str]:
    """Where RL lost as many samples as it won: critical samples there are no generalization."""
    where = [t for t, n in critical.items() if n["lost"] and n["lost"] >= n["critical"]]
    counts = ", ".join(
        f"{task_title(t)} (gained {critical[t]['critical']}, lost {critical[t]['lost']})"
        for t in where
    )
    said = "RL lost at least as many samples as it gained, which is no sign of generalization"
    return [f"{label}, {said}, on {counts}."] if where else []


def about_specificity(label: str, tails: dict[str, dict]) -> str:
    """How many features are specific to a model after SFT and after RL."""
    counts = {p: tails[f"{FINAL[p]}-r0"] for p in ("sft", "rl")}
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
        f"{label}, generalization features (readout {readout}): {counts['intersection']} in "
        f"all tasks, {counts['majority']} in most. {family['features']['why_empty']}".strip()
    ]
    for target, tasks in family["interventions"].items():
        for kind in SETS:
            if sentence := compare(target, tasks, kind):
                said.append(f"{label}, {sentence}")
    return said


def compare(target: str, tasks: dict[str, dict], kind: str) -> str:
    """How a kind of set fares against each kind of random sets; "" if it has no feature."""
    what = "amplifying in base" if target == "base" else "zeroing in RL"
    sign = 1 if target == "base" else -1
    found = {task: kinds for task, kinds in tasks.items() if kinds.get(kind, {}).get("n_features")}
    if not found:
        return ""
    parts = [against(found, kind, pool, sign) for pool in reversed(CONTROLS)]
    return f"{what} {SETS[kind]}: {'; '.join(parts)}."


def against(found: dict[str, dict], kind: str, pool: str, sign: int) -> str:
    """In how many tasks a set does more than every random set of one pool, by more than a sample,
    in how many less than all of them, and what chance would give at most."""
    tried = {task: kinds for task, kinds in found.items() if kinds[kind][pool]}
    if not tried:
        return f"no random {POOLS[pool]} set of this size"
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
        f"more than every random {POOLS[pool]} set in {counted(more)} of {len(tried)} tasks, less "
        f"than all of them in {counted(less)}; by chance, at most {chance:.1f} tasks each"
    )


def counted(tasks: list[str]) -> str:
    """How many there are, and which."""
    return f"{len(tasks)} ({', '.join(tasks)})" if tasks else "0"
