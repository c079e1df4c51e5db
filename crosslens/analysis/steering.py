"""Compute what edits of features are compared with: steering vectors and other models' states."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from crosslens.activations.extract import load_truncated
from crosslens.analysis.critical_samples import CELLS
from crosslens.analysis.edited_answers import Companions
from crosslens.analysis.feature_scores import BASE, RL, Groups, splits_of
from crosslens.evaluation.split_model import tree_states
from crosslens.evaluation.token_trees import TreeBatch


def steering_vectors(
    states: Float[torch.Tensor, "q n d"], groups: Groups
) -> dict[str, Float[torch.Tensor, " d"]]:
    """Return, for each split, the mean of h^RL - h^base at the final token of critical samples.

    The mean is over tasks, as for scores; it is 0 where a split has no critical sample.
    """
    difference = states[:, RL] - states[:, BASE]
    won = groups.cell == CELLS.index("won")
    vectors = {}
    for name, split in splits_of(groups.tasks).items():
        inside = won & split[groups.task, groups.half]
        tasks = np.unique(groups.task[inside])
        means = [difference[torch.from_numpy(inside & (groups.task == t))].mean(0) for t in tasks]
        zero = torch.zeros_like(difference[0]) if len(difference) else torch.zeros(states.shape[-1])
        vectors[name] = torch.stack(means).mean(dim=0) if means else zero
    return vectors


def companions(
    models: Sequence[Path], layer: int, partner: int | None, *, joint: bool
) -> Companions:
    """Load the lower layers of other models: one to patch from, or all for the readout `joint`."""
    needed = range(len(models)) if joint else [] if partner is None else [partner]
    networks = {i: load_truncated(models[i], layer)[0] for i in needed}

    def states(i: int, batch: TreeBatch) -> Float[torch.Tensor, "b t d"]:
        return tree_states(networks[i], batch)

    def every(batch: TreeBatch) -> Float[torch.Tensor, "p n d"]:
        return torch.stack([states(i, batch).flatten(0, 1) for i in needed], dim=1)

    return Companions(
        partner=None if partner is None else lambda batch: states(partner, batch),
        all_models=every if joint else None,
    )
