"""Answer all questions under many edits; each edit runs only the layers above it.

The states after the layer are computed once and kept on the model's device. Where an edit changes
no state, the unedited answer is reused.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from crosslens.analysis.arms import Part
from crosslens.analysis.edits import Edit, edited_positions
from crosslens.crosscoder.model import Crosscoder
from crosslens.evaluation.questions import Question, answer, margins, right_choices
from crosslens.evaluation.split_model import SplitModel
from crosslens.evaluation.token_trees import PADDING, TreeBatch, largest_first, make_batch
from crosslens.models.batching import batches


class Prepared(NamedTuple):
    """One batch of a part of the questions, its states, and the positions that edits apply to.

    `nodes` are these positions in the flattened batch; `x` and `partner` are as in `States`.
    The states of other models have their models' dtype.
    """

    part: Part
    questions: list[int]
    batch: TreeBatch
    states: Float[torch.Tensor, "b t d"]
    nodes: Int[torch.Tensor, " p"]
    n_models: int
    all_models: Float[torch.Tensor, "p n d"] | None
    partners: Float[torch.Tensor, "p d"] | None

    @property
    def own(self) -> Float[torch.Tensor, "p d"]:
        """Return the model's activations at the edited positions."""
        return self.states.flatten(0, 1)[self.nodes].float()

    @property
    def x(self) -> Float[torch.Tensor, "p n d"]:
        """Return all models' activations there, or the model's own in place of each."""
        if self.all_models is not None:
            return self.all_models.float()
        return self.own[:, None].expand(-1, self.n_models, -1)

    @property
    def partner(self) -> Float[torch.Tensor, "p d"] | None:
        """Return the partner's activations there."""
        return None if self.partners is None else self.partners.float()


class Companions(NamedTuple):
    """Other models' states on the same tokens: one model to patch from, or all (readout joint)."""

    partner: Callable[[TreeBatch], torch.Tensor] | None = None
    all_models: Callable[[TreeBatch], torch.Tensor] | None = None


class Outcome(NamedTuple):
    """Choice and margin of every question, log p(correct) - log p(best other) in nats."""

    choice: Int[np.ndarray, " q"]
    margin: Float[np.ndarray, " q"]


class Size(NamedTuple):
    """Sums over edited positions: norms of an edit and of the states, and how many there are."""

    edit: float
    state: float
    positions: int

    def __add__(self, other: "Size") -> "Size":  # type: ignore[override]
        """Return the sums over both."""
        return Size(
            self.edit + other.edit, self.state + other.state, self.positions + other.positions
        )


class EditedModel:
    """A model to be edited, its states on all questions, and its answers without an edit."""

    def __init__(
        self,
        model: SplitModel,
        crosscoder: Crosscoder,
        index: int,
        questions: Sequence[Question],
        parts: Sequence[Part],
        *,
        batch_size: int,
        skip_positions: int,
        sink_threshold: float,
        companions: Companions = Companions(),  # noqa: B008
    ) -> None:
        self.model, self.questions = model, list(questions)
        self.right = right_choices(self.questions)
        self.scale = crosscoder.scales[index].item()
        self.skip_positions, self.sink_threshold = skip_positions, sink_threshold
        order = largest_first(self.questions)
        self.prepared = [
            self.prepare(part, group, crosscoder, companions)
            for part in dict.fromkeys(parts)
            for group in batches([i for i in order if parts[i] == part], batch_size)
        ]
        count = len(self.questions)
        self.unedited = Outcome(np.zeros(count, dtype=np.int8), np.zeros(count, dtype=np.float32))
        for prepared in self.prepared:
            self.fill(self.unedited, prepared.questions, prepared.batch, prepared.states)

    def prepare(
        self, part: Part, group: list[int], crosscoder: Crosscoder, companions: Companions
    ) -> Prepared:
        """Compute the states of a batch."""
        batch = make_batch([self.questions[i] for i in group], self.model.device)
        states = self.model.states(batch)
        where = edited_positions(
            states,
            batch.positions,
            batch.branch != PADDING,
            scale=self.scale,
            skip_positions=self.skip_positions,
            sink_threshold=self.sink_threshold,
        )
        nodes = where.flatten().nonzero()[:, 0]
        every = companions.all_models(batch)[nodes] if companions.all_models else None
        partners = None
        if companions.partner:
            partners = companions.partner(batch).flatten(0, 1)[nodes]
        n_models = len(crosscoder.scales)
        return Prepared(part, group, batch, states, nodes, n_models, every, partners)

    def fill(
        self,
        outcome: Outcome,
        rows: list[int],
        batch: TreeBatch,
        states: Float[torch.Tensor, "b t d"],
    ) -> None:
        """Answer a batch of questions from their states."""
        answers = answer(self.model, batch, states, self.right.shape[1])
        outcome.choice[rows] = answers.choice
        outcome.margin[rows] = margins(answers.log_probs, self.right[rows])

    @torch.inference_mode()
    def outcome(self, edits: Mapping[Part, Edit]) -> Outcome:
        """Answer every question, each part under its edit; parts without one keep their answers."""
        outcome = Outcome(*(values.copy() for values in self.unedited))
        for prepared in self.prepared:
            if prepared.part in edits:
                self.answer_edited(outcome, prepared, edits[prepared.part])
        return outcome

    def answer_edited(self, outcome: Outcome, prepared: Prepared, edit: Edit) -> None:
        """Answer those questions of a batch that an edit touches."""
        states = prepared.states
        delta = torch.zeros_like(states, dtype=torch.float32).flatten(0, 1)
        delta[prepared.nodes] = edit(prepared)
        delta = delta.view_as(states)
        touched = delta.flatten(1).any(dim=1).nonzero()[:, 0].tolist()
        if not touched:
            return
        rows, batch = [prepared.questions[i] for i in touched], prepared.batch
        if len(rows) < len(prepared.questions):
            batch = make_batch([self.questions[i] for i in rows], self.model.device)
        new = (states + delta.to(states.dtype))[touched, : batch.ids.shape[1]]
        self.fill(outcome, rows, batch, new)

    @torch.inference_mode()
    def sizes(self, edits: Mapping[Part, Edit]) -> dict[Part, Size]:
        """Return how large each part's edit is, without running the model."""
        totals: dict[Part, Size] = {}
        for prepared in self.prepared:
            if prepared.part not in edits:
                continue
            size = edits[prepared.part](prepared).norm(dim=-1).sum().item()
            own = Size(size, prepared.own.norm(dim=-1).sum().item(), len(prepared.nodes))
            totals[prepared.part] = totals.get(prepared.part, Size(0.0, 0.0, 0)) + own
        return totals
