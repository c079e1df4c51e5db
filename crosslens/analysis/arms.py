"""The arms of the causal protocol: which features are edited where, by what dose, against what.

An arm answers every question once. Within it the set depends on where the question is:

paper       the set selected on all tasks, on every question (a task's own set on its own questions)
protocol    on a half what was selected on the other half; on held-out tasks what all tasks selected
leave_out   on a task what the other tasks selected
everywhere  no set: one and the same on every question
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from crosslens.analysis.controls import PRIMARY, of_size
from crosslens.analysis.edits import ZERO, Dose
from crosslens.analysis.feature_scores import BASE, RL, SFT
from crosslens.config.sections import CausalProtocolConfig, EvaluationConfig

Part = tuple[str, str]  # a task and a half of it: an edit is one and the same within
SELECTED, MATCHED = "selected", "matched"
PATCH = "patch"
SFT_FEATURES = "sft"  # features selected for SFT instead
DIRECTIONS = ("steering", "steering_in_span", "steering_outside_span")
RANDOM_DIRECTION = "random_direction"
MOST = 10.0  # a control's edit is scaled by no more than this, and by no less than its inverse


class Arm(NamedTuple):
    """One edit of all questions.

    features: the kind of set, PRIMARY or another. kind: `selected` or what it is compared
    with; `draw` numbers the draws of one kind. `sets` has the features by the place that
    `place_of` names.
    """

    design: str
    features: str
    kind: str
    dose: Dose
    draw: int
    sets: Mapping[str, Sequence[int]]


def place_of(design: str, part: Part, tasks: Sequence[str]) -> str | None:
    """Return which of an arm's sets applies to a part of the questions; None for no edit.

    `tasks` are those that features are selected on.
    """
    task, half = part
    if design == "everywhere":
        return "all"
    if design == "paper":
        return task
    if design == "leave_out":
        return f"without-{task}" if task in tasks else None
    return {"A": "B", "B": "A"}[half] if task in tasks else "all"


def is_fair(record: Mapping[str, Any], place: str | None) -> bool:
    """Return whether an arm edits the questions of a place, by an edit of its set's size.

    False if it has no feature for them, or if its edit had to be scaled by more than `MOST`.
    `record` is the arm's in arms.json.
    """
    if record["design"] == "everywhere":
        return True
    factor = record["factors"].get(place, 1.0)
    return bool(record["n_features"].get(place)) and (not factor or 1 / MOST < factor < MOST)


class Extent(NamedTuple):
    """How much of the protocol runs.

    matched, exploratory: control sets of the primary arm and of others; curves: control sets of
    each dose of a curve; multiply, clamp: the doses of the curves. `full`: everything; else the
    primary arms and the paper's sets without their controls, for further crosscoders.
    """

    matched: int
    exploratory: int
    curves: int
    multiply: Sequence[float]
    clamp: Sequence[float]
    full: bool


def extent_of(protocol: CausalProtocolConfig, model: int, *, full: bool) -> Extent:
    """Return how much runs: everything if `full`, but the primary arms only in SFT.

    `model` is the edited model's place in the trio.
    """
    return Extent(
        matched=protocol.exploratory_sets if model == SFT else protocol.matched_sets,
        exploratory=protocol.exploratory_sets,
        curves=protocol.curve_sets,
        multiply=protocol.multiply,
        clamp=protocol.clamp,
        full=full and model != SFT,
    )


def arms_of_model(
    chosen: Mapping[str, Any],
    evaluation: EvaluationConfig,
    protocol: CausalProtocolConfig,
    *,
    amplify_to: float,
    model: int,
    full: bool,
) -> list[Arm]:
    """Return the arms of one model of the trio: features are amplified in base, zeroed in others.

    `chosen` is the content of features.json; the paper sets features to `amplify_to` in base.
    `full`: every arm, not only the primary ones and the paper's.
    """
    base = model == BASE
    listed = arms(
        chosen,
        evaluation.tasks,
        evaluation.heldout_tasks,
        dose=Dose("clamp", protocol.amplify) if base else ZERO,
        paper_dose=Dose("set", amplify_to if base else 0.0),
        extent=extent_of(protocol, model, full=full),
    )
    return list(listed)


def patched_from(arms: Sequence[Arm], model: int) -> int | None:
    """Return the model whose complete state replaces the edited one's: RL for base, base for
    others; None if no arm does this."""
    if not any(arm.kind == PATCH for arm in arms):
        return None
    return RL if model == BASE else BASE


def arms(
    chosen: Mapping[str, Any],
    tasks: Sequence[str],
    held_out: Sequence[str],
    *,
    dose: Dose,
    paper_dose: Dose,
    extent: Extent,
) -> Iterator[Arm]:
    """List the arms of one model. `chosen` is the content of features.json."""
    splits = chosen["protocol"]
    yield from with_controls(splits, "protocol", PRIMARY, dose, extent.matched)
    if extent.full:
        yield from comparisons(splits, dose, extent)
        for kind in ("majority", "contrast"):
            yield from with_controls(splits, "protocol", kind, dose, extent.exploratory)
        yield from with_controls(splits, "leave_out", PRIMARY, dose, extent.exploratory)
        for curve in curve_doses(extent, dose):
            yield from with_controls(splits, "protocol", PRIMARY, curve, extent.curves)
    yield from paper_arms(chosen, tasks, held_out, paper_dose, controls=extent.full)


def curve_doses(extent: Extent, primary: Dose) -> list[Dose]:
    """Return the doses of the curves, without the primary one, which runs anyway."""
    doses = [Dose("multiply", v) for v in extent.multiply]
    doses += [Dose("clamp", v) for v in extent.clamp]
    return [dose for dose in doses if dose != primary]


def with_controls(
    splits: Mapping[str, Any], design: str, kind: str, dose: Dose, count: int
) -> Iterator[Arm]:
    """List the arm of a kind of set and those of its matched controls; none without a split.

    A control edits nothing at a place that has fewer control sets than others.
    """
    here = {
        name: sets
        for name, sets in splits.items()
        if name.startswith("without-") == (design == "leave_out")
    }
    if not here:  # a single task: nothing is selected without it
        return
    yield Arm(design, kind, SELECTED, dose, 0, {name: sets[kind] for name, sets in here.items()})
    drawn = {name: sets["controls"].get(kind, []) for name, sets in here.items()}
    for draw in range(min(count, max(map(len, drawn.values()), default=0))):
        some = {name: sets[draw] if draw < len(sets) else [] for name, sets in drawn.items()}
        yield Arm(design, kind, MATCHED, dose, draw, some)


def comparisons(splits: Mapping[str, Any], dose: Dose, extent: Extent) -> Iterator[Arm]:
    """List what the primary set is compared with besides matched features."""
    own = {name: sets[PRIMARY] for name, sets in splits.items()}
    for other in ("next_best", SFT_FEATURES):
        others = {name: sets[other] for name, sets in splits.items()}
        yield Arm("protocol", PRIMARY, other, dose, 0, others)
    for direction in DIRECTIONS:
        yield Arm("protocol", PRIMARY, direction, dose, 0, own)
    for draw in range(extent.exploratory):
        yield Arm("protocol", PRIMARY, RANDOM_DIRECTION, dose, draw, own)
    yield Arm("everywhere", "whole state", PATCH, ZERO, 0, {"all": []})


def paper_arms(
    chosen: Mapping[str, Any],
    tasks: Sequence[str],
    held_out: Sequence[str],
    dose: Dose,
    *,
    controls: bool,
) -> Iterator[Arm]:
    """List the paper's sets, and for each random ones of its size."""
    everywhere = [*tasks, *held_out]
    sets = {kind: dict.fromkeys(everywhere, chosen[kind]) for kind in ("intersection", "majority")}
    sets["per_task"] = {task: entry["selected"] for task, entry in chosen["tasks"].items()}
    for kind, by_task in sets.items():
        yield Arm("paper", kind, SELECTED, dose, 0, by_task)
        for name, draws in chosen["controls"].items() if controls else ():
            drawn = {task: of_size(draws, len(own)) for task, own in by_task.items() if own}
            for i in range(max(map(len, drawn.values()), default=0)):
                some = {task: own[i] for task, own in drawn.items() if i < len(own)}
                yield Arm("paper", kind, name, dose, i, some)
