"""Take a training step on the path, sparse or dense, that is faster at the measured density.

The gradient of a ReLU crosscoder needs f only where it is nonzero: the reconstruction and the
gradients of W_dec, W_enc and f are sums over nonzeros, and exact. Only the encoder is a dense
product. At higher densities dense products are faster.
"""

from typing import TYPE_CHECKING, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int

from crosslens.crosscoder.kernels import auxiliary, dense
from crosslens.crosscoder.kernels.auxiliary import Auxiliary
from crosslens.crosscoder.kernels.parameter_matrices import (
    Matrices,
    StepStats,
    decoder_norms,
    weights_of,
)
from crosslens.crosscoder.kernels.path_selector import PathSelector
from crosslens.crosscoder.model import Crosscoder

if TYPE_CHECKING:
    from crosslens.crosscoder.kernels.sparse_cpu import SparseCpuKernels
    from crosslens.crosscoder.kernels.sparse_gpu import SparseGpuKernels

EPSILON = 1e-8  # of Adam, PyTorch's default
DEAD_INTERVAL = 16  # steps between searches for dead features, each of which waits for the device


class StepSettings(NamedTuple):
    """Settings of all steps."""

    adam_betas: tuple[float, float]
    gradient_clip: float
    dtype: torch.dtype = torch.float32  # of dense products; weights and moments are float32
    path: str = "auto"  # auto, dense or sparse; BatchTopK needs sparse
    auxiliary_weight: float = 0.0  # of BatchTopK's auxiliary loss
    auxiliary_features: int = 0  # dead features per row
    dead_steps: int = 0  # a feature that was not kept for so many steps is dead


class Moments(NamedTuple):
    """Adam's first and second moments."""

    first: Matrices
    second: Matrices

    @classmethod
    def zero(cls, crosscoder: Crosscoder) -> "Moments":
        """Return the moments at the start of training."""
        weights = weights_of(crosscoder)
        return cls(Matrices.like(weights), Matrices.like(weights))


class TrainStep:
    """Train a crosscoder in place, with batches of one size, starting on the dense path.

    With BatchTopK, `last_kept` is updated in place: the number of steps after which each feature
    was last kept.
    """

    def __init__(
        self,
        crosscoder: Crosscoder,
        moments: Moments,
        size: int,
        settings: StepSettings,
        last_kept: Int[torch.Tensor, " k"] | None = None,
    ) -> None:
        self.weights, self.moments, self.settings = weights_of(crosscoder), moments, settings
        self.models, _, self.d_sparse = crosscoder.W_enc.shape
        self.gradient = Matrices.like(self.weights)
        device = crosscoder.W_enc.device
        self.selector = PathSelector(settings.path, device.type, settings.dtype)
        rounds = settings.dtype != torch.float32
        self.W_enc_bf16 = self.weights.W_enc.to(settings.dtype) if rounds else None
        self.kernels = sparse_kernels(size, self.weights, self.models, self.W_enc_bf16)
        self.last_kept, self.steps_taken = last_kept, 0
        self.dead: Int[torch.Tensor, " z"] | None = None

    def take(
        self,
        x: Float[torch.Tensor, "b n d_model"],
        beta: float,
        rate: float,
        step: int,
        keep: int | None = None,
    ) -> StepStats:
        """Apply update number `step`, from 0, on scaled activations, and return its statistics.

        With `keep`, the batch's f has only that many entries (BatchTopK).
        """
        self.selector.choose(self.d_sparse)
        if self.last_kept is not None:
            self.find_dead(step, self.last_kept)
        stats = self.gradients(x, beta, keep)
        if self.last_kept is not None:
            self.last_kept.masked_fill_(stats.active, step + 1)
        norm = stats.grad_norm_sq.sqrt()
        clip = (self.settings.gradient_clip / (norm + 1e-6)).clamp(max=1.0)
        self.update(clip, rate, step + 1)
        self.selector.record(stats.l0)
        return stats

    def gradients(
        self, x: Float[torch.Tensor, "b n d_model"], beta: float, keep: int | None = None
    ) -> StepStats:
        """Write the gradients of Eqs. 3 and 7 to `gradient`.

        The sparse path leaves out rows that its `update` does not read, at least those of inactive
        features.
        """
        flat = rearrange(x, "b n d -> b (n d)")
        if self.selector.sparse:
            stats = self.kernels.gradients(
                flat, self.weights, self.gradient, beta, keep, extended=self.dead is not None
            )
            return stats if self.dead is None else self.add_auxiliary(flat, stats)
        return dense.gradients(
            flat, self.weights, self.W_enc_bf16, self.gradient, beta, self.models
        )

    def find_dead(self, step: int, last_kept: Int[torch.Tensor, " k"]) -> None:
        """Update the list of dead features, every few steps."""
        if self.steps_taken % DEAD_INTERVAL == 0 and self.settings.auxiliary_weight:
            dead = (step - last_kept > self.settings.dead_steps).nonzero()[:, 0]
            self.dead = dead if len(dead) else None
        self.steps_taken += 1

    def add_auxiliary(self, flat: Float[torch.Tensor, "b D"], stats: StepStats) -> StepStats:
        """Add the gradients of the auxiliary loss."""
        settings = self.settings
        loss = Auxiliary(self.dead, settings.auxiliary_features, settings.auxiliary_weight)
        g = self.kernels.extend(self.dead, self.gradient)
        norms = decoder_norms(self.weights.W_dec, self.models)
        growth = auxiliary.add_gradients(
            loss, flat, g, self.weights, norms, self.gradient, settings.dtype
        )
        return stats._replace(grad_norm_sq=stats.grad_norm_sq + growth)

    def update(self, clip: Float[torch.Tensor, ""], rate: float, number: int) -> None:
        """Apply Adam's update `number`, from 1."""
        beta1, beta2 = self.settings.adam_betas
        corrected = rate / (1 - beta1**number)
        inv_sqrt_bias2 = (1 - beta2**number) ** -0.5
        self.kernels.update(
            self.weights,
            self.moments,
            self.gradient,
            (clip, corrected, beta1, beta2, inv_sqrt_bias2, EPSILON),
            skip_inactive=self.selector.sparse,
        )


def sparse_kernels(
    size: int,
    weights: Matrices,
    models: int,
    W_enc_bf16: Float[torch.Tensor, "d_sparse D"] | None,
) -> "SparseCpuKernels | SparseGpuKernels":
    """Return the sparse kernels of a device; only the compiler of that device is imported."""
    if weights.W_enc.device.type == "cuda":
        from crosslens.crosscoder.kernels.sparse_gpu import SparseGpuKernels

        return SparseGpuKernels(size, weights, models, W_enc_bf16)
    from crosslens.crosscoder.kernels.sparse_cpu import SparseCpuKernels

    return SparseCpuKernels(size, weights, models, W_enc_bf16)
