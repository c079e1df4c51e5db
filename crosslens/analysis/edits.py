"""Edit a model's residual stream along features or directions; the reconstruction error is kept.

Section 7.1 of the paper zeroes features in RL (Tables 2, 4) and sets them to 3.0 in base (Tables 3,
5). Doses here are the paper's values, multiples of a feature's own activation, or multiples of its
dose unit in RL; the last two do not depend on the crosscoder's scale gauge.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int

from crosslens.analysis.contexts import not_sinks
from crosslens.analysis.feature_scores import features_of
from crosslens.crosscoder.model import Crosscoder


class Dose(NamedTuple):
    """The new activation of a feature f, by kind.

    "multiply" gives value * f, "clamp" value * unit, and "set" value itself, as in the paper.
    """

    kind: str
    value: float

    def __str__(self) -> str:
        """Return a label for tables."""
        return f"{self.kind} {self.value:g}"

    def change(
        self, f: Float[torch.Tensor, "b k"], units: Float[torch.Tensor, " k"]
    ) -> Float[torch.Tensor, "b k"]:
        """Return the new activations minus the old ones."""
        if self.kind == "multiply":
            return (self.value - 1) * f
        return self.value * (units if self.kind == "clamp" else torch.ones_like(units)) - f


ZERO = Dose("multiply", 0.0)


@runtime_checkable
class States(Protocol):
    """The activations at the edited positions of the edited model and, if known, of others."""

    @property
    def x(self) -> Float[torch.Tensor, "p n d"]:
        """Return all models' unscaled activations.

        If they are not known, the edited model's activations take the place of each model's.
        """

    @property
    def own(self) -> Float[torch.Tensor, "p d"]:
        """Return the edited model's activations."""

    @property
    def partner(self) -> Float[torch.Tensor, "p d"] | None:
        """Return the activations of the model to patch from; None if there is none."""


Edit = Callable[[States], Float[torch.Tensor, "p d"]]  # what is added, in the model's own units


@dataclass(frozen=True)
class Editor:
    """Read and write features in one model: its index in the crosscoder, and the readout."""

    crosscoder: Crosscoder
    index: int
    readout: str

    def edit(self, features: Sequence[int], dose: Dose, units: Sequence[float]) -> Edit:
        """Return the edit of some features by a dose: it adds (f_new - f) W_dec^i / s_i to h."""
        device = self.crosscoder.W_dec.device
        chosen = torch.tensor(list(features), dtype=torch.long, device=device)
        own = torch.tensor(list(units), dtype=torch.float32, device=device)
        small = self.crosscoder.restricted(chosen)
        written = small.directions()[self.index]

        def add(states: States) -> Float[torch.Tensor, "p d"]:
            f = features_of(small, states.x, self.index, self.readout)
            return dose.change(f, own) @ written

        return add


def scaled(edit: Edit, factor: float) -> Edit:
    """Return an edit multiplied by a factor."""
    return lambda states: factor * edit(states)


def along(edit: Edit, vector: Float[torch.Tensor, " d"]) -> Edit:
    """Return an edit along one direction whose norm equals another edit's at every position.

    A direction of norm 0 gives no edit.
    """
    unit = torch.nn.functional.normalize(vector, dim=0)
    return lambda states: edit(states).norm(dim=-1, keepdim=True) * unit


def patch(states: States) -> Float[torch.Tensor, "p d"]:
    """Replace the complete residual stream by the partner's, as a ceiling for edits of features."""
    assert states.partner is not None
    return states.partner - states.own


def in_span(
    vector: Float[torch.Tensor, " d"], directions: Float[torch.Tensor, "k d"]
) -> Float[torch.Tensor, " d"]:
    """Return the projection of a vector onto the span of some directions."""
    if not len(directions):
        return torch.zeros_like(vector)
    solution = torch.linalg.lstsq(directions.T.double(), vector.double()[:, None]).solution
    return (directions.T.double() @ solution)[:, 0].to(vector.dtype)


def random_directions(
    x: Float[torch.Tensor, "p d"], count: int, seed: int
) -> Float[torch.Tensor, "count d"]:
    """Draw directions with the covariance of activations: N(0, Sigma_h).

    A random sum of centred activations has that covariance exactly.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(count, len(x), generator=generator).to(x.device)
    return weights @ (x - x.mean(dim=0)) / len(x) ** 0.5


def explained(
    vector: Float[torch.Tensor, " d"],
    scores: Float[torch.Tensor, " k"],
    directions: Float[torch.Tensor, "k d"],
) -> float:
    """Return R^2 = 1 - |v - sum_k Score_k D_k|^2 / |v|^2: how much of v the features explain."""
    rest = vector - scores @ directions
    return float(1 - rest.square().sum() / vector.square().sum())


def edited_positions(
    h: Float[torch.Tensor, "b t d"],
    places: Int[torch.Tensor, "b t"],
    present: Bool[torch.Tensor, "b t"],
    *,
    scale: float,
    skip_positions: int,
    sink_threshold: float,
) -> Bool[torch.Tensor, "b t"]:
    """Return where edits apply: everywhere but at the first positions and at attention sinks.

    Crosscoders are not trained on sinks, so f is undefined there. Only the edited model's sinks
    count here, while training excludes the sinks of every model of the crosscoder.
    """
    norms = h.float().norm(dim=-1) * scale
    inside = not_sinks(norms, h.shape[-1], sink_threshold)
    return present & (places >= skip_positions) & inside
