"""The Triton kernels' gradients, and Adam's moments after them, against autograd.

The reference is `Crosscoder.loss` under autograd, for bfloat16 under autocast. Both compute the
encoder's product by the same call, so the same features fire. One call stores all gradients. The
next one computes those of rarely active features again in Adam, as training does.
"""

import os
from functools import partial

import torch

from benchmarks.gpu.section import Machine, Part, Result, require
from benchmarks.step import BETA, DTYPES, Size, crosscoder_of
from crosslens.crosscoder.kernels.parameter_matrices import Matrices, weights_of
from crosslens.crosscoder.kernels.train_step import EPSILON, Moments
from crosslens.crosscoder.model import Crosscoder

# Rows of the batch, and decoder norms for which x_hat is about as large as x.
PAPER = [(Size(n, 2560, 32768, 60), 1024, 4.0) for n in (2, 3)]
ODD = [
    (Size(1, 5, 20, 5), 9, 1.0),
    (Size(2, 8, 17, 4), 11, 1.0),
    (Size(3, 300, 6, 3), 5, 1.0),
    (Size(4, 7, 11, 2), 20, 1.0),
]
ODD_LARGE = [(Size(3, 333, 1001, 20), 77, 1.0)]  # the interpreter would take minutes
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}  # of a parameter's norm
ROUNDING = {"cuda": 2**-8, "cpu": 2**-7}  # Triton's interpreter truncates where a GPU rounds
BETA1, BETA2, RATE = 0.9, 0.999, 1e-4

Named = dict[str, torch.Tensor]


def by_autograd(crosscoder: Crosscoder, x: torch.Tensor, dtype: torch.dtype) -> Named:
    """Return the gradients of the dense loss by parameter."""
    bf16 = dtype == torch.bfloat16
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        crosscoder.loss(x, BETA).total.backward()
    return {name: p.grad for name, p in crosscoder.named_parameters() if p.grad is not None}


def largest_error(found: Named, expected: Named, factor: float = 1.0) -> float:
    """Return the largest distance from factor * expected, relative to its norm."""
    return max(
        float((found[name] - factor * g).norm() / (factor * g).norm())
        for name, g in expected.items()
    )


def compare(size: Size, rows: int, decoder_norm: float, dtype: torch.dtype, device: str) -> Result:
    """Compare gradients and moments; return the largest relative errors."""
    from crosslens.crosscoder.kernels.sparse_gpu import SparseGpuKernels

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, size.n, size.d_model, generator=generator).to(device)
    crosscoder = crosscoder_of(size, x, decoder_norm)
    expected = by_autograd(crosscoder, x, dtype)
    weights, moments = weights_of(crosscoder), Moments.zero(crosscoder)
    rounded = None if dtype == torch.float32 else weights.W_enc.to(dtype)
    kernels = SparseGpuKernels(rows, weights, size.n, rounded)
    gradient, flat = Matrices.like(weights), x.flatten(1)
    stats = kernels.gradients(flat, weights, gradient, BETA, extended=True)
    for matrix in (gradient.W_dec, gradient.W_enc):
        matrix[~stats.active] = 0
    errors = {"gradient": largest_error(gradient.parameters(size.n), expected)}
    stats = kernels.gradients(flat, weights, gradient, BETA)
    clip = (1 / (stats.grad_norm_sq.sqrt() + 1e-6)).clamp(max=1.0)
    adam = (clip, RATE / (1 - BETA1), BETA1, BETA2, (1 - BETA2) ** -0.5, EPSILON)
    kernels.update(weights, moments, gradient, adam, skip_inactive=True)
    norm = torch.stack([g.norm() for g in expected.values()]).norm()
    factor = (1 - BETA1) * min(1.0, 1 / float(norm))
    errors["moment"] = largest_error(moments.first.parameters(size.n), expected, factor)
    if rounded is not None:
        check_rounding(rounded, weights.W_enc)
    text = f"L0 {float(stats.l0):.1f}; relative error: " + ", ".join(
        f"{name} {error:.1e}" for name, error in errors.items()
    )
    require(max(errors.values()) <= TOLERANCE[dtype], f"{text}; allowed {TOLERANCE[dtype]:g}")
    return Result(text, errors)


def check_rounding(rounded: torch.Tensor, weights: torch.Tensor) -> None:
    """Raise AssertionError unless the encoder's bfloat16 copy is the new encoder, rounded."""
    bound = ROUNDING[weights.device.type] * weights.abs()
    wrong = ((rounded.float() - weights).abs() > bound).sum().item()
    require(not wrong, f"{wrong} entries of the encoder's bfloat16 copy are not its rounded values")


def parts(machine: Machine) -> list[Part]:
    """Return a part for each size and dtype; the paper's sizes need a GPU."""
    if machine.device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"  # read when the kernels are defined
    how = "compiled" if machine.device == "cuda" else "in Triton's interpreter"
    return [
        Part(
            f"n {size.n}, d_model {size.d_model}, d_sparse {size.d_sparse}, {name}, {how}",
            partial(compare, size, rows, norm, dtype, machine.device),
            packages=("triton",),
            cuda=(size, rows, norm) not in ODD,
        )
        for size, rows, norm in PAPER + ODD + ODD_LARGE
        for name, dtype in DTYPES.items()
    ]
