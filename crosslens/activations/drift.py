"""Find the model between base and SFT that is as far from base as the RL model is.

RL moves a model less than SFT does. Features that are specific to one model become more frequent
with distance alone, so that SFT and RL can be compared fairly only at equal distance. The model is
theta = base + alpha (SFT - base). Distance, or drift, is the mean squared distance of scaled
activations, E |x - x^O|^2, on some held-out sequences.
"""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt32

from crosslens.activations.extract import load_truncated, residual_stream, sink_mask
from crosslens.config.sections import ActivationsConfig
from crosslens.data.corpus import read_shard
from crosslens.models.batching import batches

TOKENS = 1 << 17  # at least so many are measured, as far as the held-out shard has them
TOLERANCE = 0.01  # of the drift's ratio
MOST_STEPS = 12
SMALLEST = 1e-12  # drift that counts as none


class Measured(NamedTuple):
    """The drift of the final models, and of the interpolated model with RL's drift."""

    alpha: float
    drift: float
    rl: float
    sft: float
    tokens: int


@torch.inference_mode()
def activations(
    network: torch.nn.Module,
    rows: UInt32[np.ndarray, "n t"],
    *,
    batch_size: int,
    skip_positions: int,
) -> Float[torch.Tensor, "r d"]:
    """Return a truncated network's activations on some sequences, in float32 on the CPU."""
    kept_rows = []
    for group in batches(rows, batch_size):
        ids = torch.from_numpy(group.astype(np.int64)).to(network.device)
        kept_rows.append(
            residual_stream(network, ids)[:, skip_positions:].flatten(0, 1).float().cpu()
        )
    return torch.cat(kept_rows)


def without_sinks(
    parts: list[Float[torch.Tensor, "r d"]], sink_threshold: float
) -> Bool[torch.Tensor, " r"]:
    """Return the rows that are not an attention sink in any of the models."""
    kept = [sink_mask(x.norm(dim=1).numpy(), sink_threshold) for x in parts]
    return torch.from_numpy(np.all(kept, axis=0))


def scaled(x: Float[torch.Tensor, "r d"]) -> Float[torch.Tensor, "r d"]:
    """Return activations with a mean norm of sqrt(d_model)."""
    return x * (x.shape[1] ** 0.5 / x.norm(dim=1).mean())


def drift(x: Float[torch.Tensor, "r d"], base: Float[torch.Tensor, "r d"]) -> float:
    """Return the mean squared distance of scaled activations."""
    return (scaled(x) - scaled(base)).square().sum(dim=1).mean().item()


def match(target: float, at_one: float, drift_at: Callable[[float], float]) -> tuple[float, float]:
    """Return alpha in [0, 1] with a drift of `target`, and its drift.

    Each guess assumes that the drift is a power of alpha: first the square, then the power that the
    last two guesses imply. Guesses stay within the bracket of the earlier ones. If SFT moved less
    than `target`, alpha is 1; if RL did not move, alpha is 0.
    """
    if at_one <= target:
        return 1.0, at_one
    if target <= SMALLEST:
        return 0.0, 0.0
    low, high, alpha, measured, power = 0.0, 1.0, 1.0, at_one, 2.0
    for _ in range(MOST_STEPS):
        before, guess = (alpha, measured), alpha * (target / measured) ** (1 / power)
        alpha = guess if low < guess < high else (low + high) / 2
        measured = max(drift_at(alpha), SMALLEST)
        if abs(measured / target - 1) <= TOLERANCE:
            break
        low, high = (alpha, high) if measured < target else (low, alpha)
        power = max(0.5, math.log(measured / before[1]) / math.log(alpha / before[0]))
    return alpha, measured


@torch.no_grad()
def interpolate(
    into: torch.nn.Module, base: torch.nn.Module, sft: torch.nn.Module, alpha: float
) -> None:
    """Set the weights of a network to base + alpha (sft - base), rounded to its dtype.

    Embeddings of added tokens, which base does not have, are taken from sft.
    """
    ends = base.state_dict(), sft.state_dict()
    for name, weight in into.state_dict().items():
        one, other = (weights[name].float() for weights in ends)
        if one.shape == other.shape:
            weight.copy_(torch.lerp(one, other, alpha))
        else:
            common = min(len(one), len(weight))
            weight[:common] = torch.lerp(one[:common], other[:common], alpha)
            weight[common:] = other[common : len(weight)]


def match_drift(
    corpus: Path, base: Path, sft: Path, rl: Path, settings: ActivationsConfig
) -> Measured:
    """Return alpha and the drifts, measured after the layer on held-out sequences."""
    rows, _ = read_shard(corpus, "heldout")
    rows = rows[: math.ceil(TOKENS / rows.shape[1])]
    options = {"batch_size": settings.batch_size, "skip_positions": settings.skip_positions}
    networks = [load_truncated(path, settings.layer)[0] for path in (base, sft, rl)]
    x, tuned, target = parts = [activations(network, rows, **options) for network in networks]
    kept = without_sinks(parts, settings.sink_threshold)
    between = copy.deepcopy(networks[0])

    def drift_at(alpha: float) -> float:
        interpolate(between, *networks[:2], alpha)
        return drift(activations(between, rows, **options)[kept], x[kept])

    wanted, at_one = drift(target[kept], x[kept]), drift(tuned[kept], x[kept])
    return Measured(*match(wanted, at_one, drift_at), wanted, at_one, int(kept.sum()))
