"""Find where features fire in texts: activations on sequences, and the strongest contexts."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer

from crosslens.activations.extract import residual_stream
from crosslens.crosscoder.model import Crosscoder
from crosslens.models.batching import batches


class Context(NamedTuple):
    """A token on which a feature fires, at the end of the tokens that precede it."""

    activation: float  # in the crosscoder's units
    sequence: int
    position: int
    ids: list[int]


@torch.inference_mode()
def read_rows(
    crosscoder: Crosscoder, networks: Sequence[torch.nn.Module], rows: Integer[np.ndarray, "n t"]
) -> Float[torch.Tensor, "n t m d_model"]:
    """Return the scaled activations of a crosscoder's models at every token of some sequences.

    `networks` are its models in its order, truncated at its layer (`load_truncated`).
    """
    ids = torch.from_numpy(rows.astype(np.int64))
    streams = [residual_stream(n, ids.to(n.device)).float().cpu() for n in networks]
    return torch.stack(streams, dim=2) * crosscoder.scales[:, None]


def not_sinks(
    norms: Float[torch.Tensor, "*s"], d_model: int, sink_threshold: float
) -> Bool[torch.Tensor, "*s"]:
    """Return the positions that are not attention sinks, by the norms of scaled activations.

    A sink's norm exceeds `sink_threshold` times the mean norm, sqrt(d_model). Training uses the
    median instead of the mean (`crosslens.activations.extract.sink_mask`).
    """
    return norms / math.sqrt(d_model) <= sink_threshold


def trained_positions(
    x: Float[torch.Tensor, "n t m d_model"], *, skip_positions: int, sink_threshold: float
) -> Bool[torch.Tensor, "n t"]:
    """Return the positions that crosscoders are trained on, from scaled activations.

    The first `skip_positions` and attention sinks of any of the models are excluded.
    """
    where = not_sinks(x.norm(dim=-1), x.shape[-1], sink_threshold).all(dim=-1)
    where[:, :skip_positions] = False
    return where


@torch.inference_mode()
def encode_rows(
    crosscoder: Crosscoder,
    networks: Sequence[torch.nn.Module],
    rows: Integer[np.ndarray, "n t"],
    features: Sequence[int],
    *,
    batch_size: int = 16,
    skip_positions: int = 1,
) -> Float[torch.Tensor, "n t k"]:
    """Return the activations of some features at every token of some sequences.

    `networks` are the crosscoder's models in its order, truncated at its layer (`load_truncated`).
    The first `skip_positions` positions, on which crosscoders are not trained, are zero.
    """
    chosen = crosscoder.restricted(features)
    codes = []
    for group in batches(rows, batch_size):
        x = read_rows(chosen, networks, group)
        codes.append(chosen.encode(x.flatten(0, 1)).view(*group.shape, len(features)))
    activations = torch.cat(codes)
    activations[:, :skip_positions] = 0
    return activations


def strongest_contexts(
    f: Float[torch.Tensor, "n t"], rows: Integer[np.ndarray, "n t"], count: int, width: int = 16
) -> list[Context]:
    """Return the tokens on which a feature fires most, one per sequence, the strongest first.

    Each context has up to `width` tokens and ends in that token. There are fewer than `count` if
    the feature fires in fewer sequences.
    """
    strongest, positions = f.max(dim=1)
    order = strongest.argsort(descending=True, stable=True)[:count].tolist()
    return [
        Context(
            strongest[i].item(),
            i,
            (position := int(positions[i])),
            rows[i, max(0, position + 1 - width) : position + 1].tolist(),
        )
        for i in order
        if strongest[i] > 0
    ]
