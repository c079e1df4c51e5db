"""One training step: the encoder densely, the rest by the path that the measured density calls for.

A ReLU crosscoder's gradient needs f only where it is not zero: reconstruction, the gradients of
W_dec and W_enc and that of f itself are sums over nonzeros, and stay exact. Only the encoder is a
dense product. Above a share of nonzeros dense products win; between two thresholds the path stays
as it is.
"""

from typing import TYPE_CHECKING, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float

from crosslens.crosscoder.kernels import dense
from crosslens.crosscoder.kernels.parameter_matrices import Matrices, Measures, weights_of
from crosslens.crosscoder.kernels.path_selector import Switch
from crosslens.crosscoder.model import Crosscoder

if TYPE_CHECKING:
    from crosslens.crosscoder.kernels.sparse_cpu import Cpu
    from crosslens.crosscoder.kernels.sparse_gpu import Gpu

EPSILON = 1e-8  # Adam's, PyTorch's default


class Settings(NamedTuple):
    """How steps are taken."""

    adam_betas: tuple[float, float]
    gradient_clip: float
    dtype: torch.dtype = torch.float32  # of dense products; weights and moments are float32
    path: str = "auto"  # auto, dense or sparse


class Moments(NamedTuple):
    """Adam's first and second moments."""

    first: Matrices
    second: Matrices

    @classmethod
    def zero(cls, crosscoder: Crosscoder) -> "Moments":
        """At the start of training."""
        weights = weights_of(crosscoder)
        return cls(Matrices.like(weights), Matrices.like(weights))


class Stepper:
    """Train a crosscoder in place, by batches of one size. Begins on the dense path."""

    def __init__(
        self, crosscoder: Crosscoder, moments: Moments, size: int, settings: Settings
    ) -> None:
        self.weights, self.moments, self.settings = weights_of(crosscoder), moments, settings
        self.models, _, self.d_sparse = crosscoder.W_enc.shape
        self.gradient = Matrices.like(self.weights)
        device = crosscoder.W_enc.device
        self.switch = Switch(settings.path, device.type, settings.dtype)
        low = settings.dtype != torch.float32
        self.low = self.weights.W_enc.to(settings.dtype) if low else None
        self.engine = engine(size, self.weights, self.models, self.low)

    def take(
        self, x: Float[torch.Tensor, "b n d_model"], beta: float, rate: float, step: int
    ) -> Measures:
        """The update number `step`, from 0, on scaled activations; what it measured."""
        self.switch.decide(self.d_sparse)
        measures = self.gradients(x, beta)
        norm = measures.square.sqrt()
        clip = (self.settings.gradient_clip / (norm + 1e-6)).clamp(max=1.0)
        self.update(clip, rate, step + 1)
        self.switch.measured(measures.l0)
        return measures

    def gradients(self, x: Float[torch.Tensor, "b n d_model"], beta: float) -> Measures:
        """Gradients of Eqs. 3 and 7 into `gradient`; on the sparse path without the rows
        that its engine leaves to `update`, those of silent features at least."""
        flat = rearrange(x, "b n d -> b (n d)")
        if self.switch.sparse:
            return self.engine.gradients(flat, self.weights, self.gradient, beta)
        return dense.gradients(flat, self.weights, self.low, self.gradient, beta, self.models)

    def update(self, clip: Float[torch.Tensor, ""], rate: float, number: int) -> None:
        """Adam's update `number`, from 1."""
        beta1, beta2 = self.settings.adam_betas
        corrected = rate / (1 - beta1**number)
        root = (1 - beta2**number) ** -0.5
        self.engine.update(
            self.weights,
            self.moments,
            self.gradient,
            (clip, corrected, beta1, beta2, root, EPSILON),
            silent=self.switch.sparse,
        )


def engine(size: int, weights: Matrices, models: int, low: torch.Tensor | None) -> "Cpu | Gpu":
    """The sparse kernels of a device; their compilers are imported only where they are used."""
    if weights.W_enc.device.type == "cuda":
        from crosslens.crosscoder.kernels.sparse_gpu import Gpu

        return Gpu(size, weights, models, low)
    from crosslens.crosscoder.kernels.sparse_cpu import Cpu

    return Cpu(size, weights, models, low)
