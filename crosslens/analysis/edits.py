"""Changes of a model's residual stream by features or directions, the reconstruction error kept.

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
    """What becomes of a feature: kind "multiply" gives value * f, "clamp" value * unit, and "set"
    the value itself, which is the paper's way."""

    kind: str
    value: float

    def __str__(self) -> str:
        """Return a label for tables."""
        return f"{self.kind} {self.value:g}"

    def change(
        self, f: Float[torch.Tensor, "b k"], units: Float[torch.Tensor, " k"]
    ) -> Float[torch.Tensor, "b k"]:
        """Return new less old activations."""
        if self.kind == "multiply":
            return (self.value - 1) * f
        return self.value * (units if self.kind == "clamp" else torch.ones_like(units)) - f


ZERO = Dose("multiply", 0.0)


@runtime_checkable
class States(Protocol):
    """Activations of the positions that are edited."""

    @property
    def x(self) -> Float[torch.Tensor, "p n d"]:
        """Return all models' activations, unscaled, or the edited model's in every place."""

    @property
    def own(self) -> Float[torch.Tensor, "p d"]:
        """Return the edited model's."""

    @property
    def partner(self) -> Float[torch.Tensor, "p d"] | None:
        """Return those of the model to patch from, if there is one."""


Edit = Callable[[States], Float[torch.Tensor, "p d"]]  # what is added, in the model's own units


@dataclass(frozen=True)
class Editor:
    """How features are read and written in one model: its place in the crosscoder, the readout."""

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
    """Return an edit of another size."""
    return lambda states: factor * edit(states)


def along(edit: Edit, vector: Float[torch.Tensor, " d"]) -> Edit:
    """Return an edit in one direction that has the size of another at every position; none along
    a vector of norm 0."""
    unit = torch.nn.functional.normalize(vector, dim=0)
    return lambda states: edit(states).norm(dim=-1, keepdim=True) * unit


def patch(states: States) -> Float[torch.Tensor, "p d"]:
    """Replace the whole residual stream by the partner's: what no edit of features can exceed."""
    assert states.partner is not None
    return states.partner - states.own


def in_span(
    vector: Float[torch.Tensor, " d"], directions: Float[torch.Tensor, "k d"]
) -> Float[torch.Tensor, " d"]:
    """Return the part of a vector in the span of some directions; the rest is orthogonal to it."""
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
    """Return R^2 = 1 - |v - sum_k Score_k D_k|^2 / |v|^2: how much of v the features spell out."""
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
    """Return where edits apply: not at the first positions, and not at attention sinks.

    Crosscoders are not trained on sinks, so f means nothing there. Only the edited model's own
    count here, while training leaves out a sink of any of the crosscoder's models.
    """
    norms = h.float().norm(dim=-1) * scale
    inside = not_sinks(norms, h.shape[-1], sink_threshold)
    return present & (places >= skip_positions) & inside
