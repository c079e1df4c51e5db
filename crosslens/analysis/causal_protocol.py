"""Run the arms of the causal protocol on one model: edits of equal size, all questions answered."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped

from crosslens.analysis.arms import (
    DIRECTIONS,
    MOST,
    PATCH,
    RANDOM_DIRECTION,
    SELECTED,
    SFT_FEATURES,
    Arm,
    Part,
    place_of,
)
from crosslens.analysis.edited_answers import EditedModel, Outcome, Size
from crosslens.analysis.edits import Dose, Edit, Editor, along, in_span, patch, scaled
from crosslens.analysis.edits import random_directions as draw_directions
from crosslens.analysis.feature_scores import BASE, RL
from crosslens.io.progress import track

SAMPLE = 8192  # positions that the covariance of activations is taken from


class Result(NamedTuple):
    """What one arm did: its outcome, how it was scaled by place, and how large it was.

    `size` is the mean |delta h| over the mean |h| at the edited positions.
    """

    arm: Arm
    outcome: Outcome
    factors: dict[str, float]
    size: float

    def record(self) -> dict[str, Any]:
        """Return what arms.json says of the arm."""
        return {
            "design": self.arm.design,
            "features": self.arm.features,
            "kind": self.arm.kind,
            "dose": str(self.arm.dose),
            "draw": self.arm.draw,
            "n_features": {place: len(features) for place, features in self.arm.sets.items()},
            "factors": self.factors,
            "size": self.size,
        }


def arrays_of(results: Sequence[Result], unedited: Outcome) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Return what outcomes.npz holds: choice and margin [arms, q], and both before any edit [q]."""
    return {
        "choice": np.stack([result.outcome.choice for result in results]),
        "margin": np.stack([result.outcome.margin for result in results]),
        "before": unedited.choice,
        "margin_before": unedited.margin,
    }


class ArmRunner:
    """One edited model, and all that the edits of its arms are made of."""

    def __init__(
        self,
        edited: EditedModel,
        editor: Editor,
        chosen: Mapping[str, Any],
        tasks: Sequence[str],
        *,
        steering: Mapping[str, Float[torch.Tensor, " d"]],
        seed: int,
    ) -> None:
        """`steering` has the mean difference of RL and base by split."""
        self.edited, self.editor, self.tasks = edited, editor, tasks
        self.steering, self.seed = steering, seed
        self.toward = 1 if editor.index == BASE else -1  # base is steered to RL, others to base
        self.splits = chosen["protocol"]
        self.parts = list(dict.fromkeys(p.part for p in edited.prepared))
        self.sizes: dict[tuple[str, str, Dose], dict[str, Size]] = {}
        self.primary: dict[tuple[str, str, Dose], Arm] = {}
        self.random: Float[torch.Tensor, "n d"] | None = None

    def run(self, arms: Sequence[Arm]) -> Iterator[Result]:
        """Answer all questions under each arm; a set's own arm comes before its controls."""
        count = sum(arm.kind == RANDOM_DIRECTION for arm in arms)
        if count:
            self.random = draw_directions(self.activations(), count, self.seed)
        for arm in track(arms, "intervening", unit="arms"):
            edits = self.edits_of(arm)
            sizes = by_place(self.edited.sizes(edits), arm.design, self.tasks)
            factors: dict[str, float] = {}
            if arm.design != "paper" and arm.kind == SELECTED:
                self.sizes[key(arm)], self.primary[key(arm)] = sizes, arm
            elif arm.design != "paper" and arm.kind != PATCH:
                factors = match(self.sizes[key(arm)], sizes)
                edits = {
                    part: scaled(edit, factors[place_of(arm.design, part, self.tasks) or ""])
                    for part, edit in edits.items()
                }
            yield Result(arm, self.edited.outcome(edits), factors, relative(sizes, factors))

    def edits_of(self, arm: Arm) -> dict[Part, Edit]:
        """Return the edit of every part of the questions that the arm edits."""
        if arm.kind == PATCH:
            return dict.fromkeys(self.parts, patch)
        places = {part: place_of(arm.design, part, self.tasks) for part in self.parts}
        edits = {
            place: self.edit_at(arm, place)
            for place in dict.fromkeys(places.values())
            if place is not None and arm.sets.get(place)
        }
        return {part: edits[place] for part, place in places.items() if place in edits}

    def edit_at(self, arm: Arm, place: str) -> Edit:
        """Return an arm's edit at one place, before it is scaled."""
        features = arm.sets[place]
        units = self.units_of(arm, place)
        edit = self.editor.edit(features, arm.dose, units)
        if arm.kind == RANDOM_DIRECTION:
            assert self.random is not None
            return along(edit, self.random[arm.draw])
        if arm.kind in DIRECTIONS:
            return along(edit, self.toward * self.direction(arm.kind, place, features))
        return edit

    def units_of(self, arm: Arm, place: str) -> list[float]:
        """Return the dose units of an arm's features: of features selected for SFT by their values
        in SFT, of others by those in RL. Only doses of kind "clamp" have some."""
        if arm.dose.kind != "clamp":
            return [0.0] * len(arm.sets[place])
        units = self.splits[place]["sft_units" if arm.kind == SFT_FEATURES else "units"]
        return [units[str(k)] for k in arm.sets[place]]

    def direction(
        self, kind: str, place: str, features: Sequence[int]
    ) -> Float[torch.Tensor, " d"]:
        """Return the steering vector, or its part inside or outside the span of RL's decoders."""
        vector = self.steering[place]
        if kind == "steering":
            return vector
        chosen = self.editor.crosscoder.restricted(list(features))
        inside = in_span(vector, chosen.directions()[RL])
        return inside if kind == "steering_in_span" else vector - inside

    def activations(self) -> Float[torch.Tensor, "p d"]:
        """Return the model's activations at some thousand edited positions, evenly chosen."""
        total = sum(len(p.nodes) for p in self.edited.prepared)
        step = max(1, total // SAMPLE)
        return torch.cat([p.x[::step, self.editor.index] for p in self.edited.prepared])


def key(arm: Arm) -> tuple[str, str, Dose]:
    """Return what an arm shares with the set that it is compared with."""
    return arm.design, arm.features, arm.dose


def by_place(sizes: Mapping[Part, Size], design: str, tasks: Sequence[str]) -> dict[str, Size]:
    """Add up the sizes of the parts that one set is edited in."""
    totals: dict[str, Size] = {}
    for part, size in sizes.items():
        place = place_of(design, part, tasks) or ""
        totals[place] = totals.get(place, Size(0.0, 0.0, 0)) + size
    return totals


def match(wanted: Mapping[str, Size], sizes: Mapping[str, Size]) -> dict[str, float]:
    """Return the factors that give a control's edits the mean size of the set's own, by place.

    0 where the set's own edit is nothing, and within `MOST`.
    """
    factors = {}
    for place, size in sizes.items():
        own = wanted[place].edit if place in wanted else 0.0
        ratio = own / size.edit if size.edit else MOST
        factors[place] = min(MOST, max(1 / MOST, ratio)) if own else 0.0
    return factors


def relative(sizes: Mapping[str, Size], factors: Mapping[str, float]) -> float:
    """Return the mean norm of the scaled edits over that of the states; 0 without an edit."""
    state = sum(size.state for size in sizes.values())
    edit = sum(factors.get(place, 1.0) * size.edit for place, size in sizes.items())
    return edit / state if state else 0.0
