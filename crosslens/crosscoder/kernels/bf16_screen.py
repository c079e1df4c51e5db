"""Find the encoder's exact float32 nonzeros by way of a bfloat16 product in hardware.

ReLU needs the value of a pre-activation only where it is positive. With x~ and w~ rounded to
bfloat16, x.w differs from x~.w~ by at most |x - x~| |w~| + |x| |w - w~|. An entry that is below
zero by more than this bound cannot be positive. The other entries, a few percent, are computed in
float32, so the result is exact.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import BFloat16, Float, UInt16

from crosslens.crosscoder.kernels.cpu import jit, round_row, row_dots
from crosslens.crosscoder.kernels.cpu_entries import Product, close_gaps
from crosslens.crosscoder.kernels.parameter_matrices import Matrices

UNIT_ROUNDOFF = 2.0**-8  # largest relative error of rounding to bfloat16
MARGIN = 1.01  # covers rounding within the bound itself
SCREEN_BELOW = 0.08  # fraction of nonzeros below which screening is faster
MAX_CANDIDATES = 0.15  # fraction of candidates above which it is not


def is_supported() -> bool:
    """Return whether this processor multiplies bfloat16 in hardware, with float32 sums."""
    return torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()


class Screen:
    """Candidates for positive entries of f, from a bfloat16 copy of W_enc that Adam updates.

    `run(kernel, *arguments)` calls a kernel for every thread's range of rows.
    """

    def __init__(self, W_enc: Float[torch.Tensor, "d_sparse D"], size: int, threads: int) -> None:
        d_sparse, D = W_enc.shape
        self.limit, self.on = SCREEN_BELOW, False
        self.W_enc_bf16 = torch.empty_like(W_enc, dtype=torch.bfloat16)
        self.x_bf16 = torch.empty(size, D, dtype=torch.bfloat16)
        self.pre = torch.empty(size, d_sparse, dtype=torch.bfloat16)
        self.norms = np.empty((d_sparse, 2), dtype=np.float32)
        self.norms_x = np.empty((size, 2), dtype=np.float32)
        self.n_kept = np.empty((threads, d_sparse), dtype=np.int64)
        round_rows(0, 0, d_sparse, W_enc.numpy(), bits(self.W_enc_bf16), self.norms)

    def encode(
        self, run: Callable[..., None], x: Float[torch.Tensor, "b D"], weights: Matrices
    ) -> Product:
        """Return an upper bound of each entry: bfloat16 product, plus norm times slack, plus bias.

        If x.w > -b, the exact product of the rounded vectors is at least -b - N with the bound N.
        Rounding this product loses at most UNIT_ROUNDOFF (|b| + N), which slack and bias include.
        Norms whose squares underflow float32 (entries below 1e-20) are not covered.
        """
        run(round_rows, x.numpy(), bits(self.x_bf16), self.norms_x)
        torch.mm(self.x_bf16, self.W_enc_bf16.T, out=self.pre)
        norms, lost = np.ascontiguousarray(self.norms_x.T)
        relative = np.divide(lost, norms, out=np.zeros_like(norms), where=norms > 0).max()
        relative += self.W_enc_bf16.shape[1] * 2.0**-24  # float32 sums
        slack = MARGIN * (1 + 2 * UNIT_ROUNDOFF) * (relative * self.norms[:, 0] + self.norms[:, 1])
        bias = weights.b_enc.numpy()
        bias = bias + MARGIN * 2 * UNIT_ROUNDOFF * np.abs(bias)
        return Product(bits(self.pre), norms, slack.astype(np.float32), bias.astype(np.float32))

    def keep_positive(
        self,
        run: Callable[..., None],
        x: Float[torch.Tensor, "b D"],
        weights: Matrices,
        by_feature: tuple[np.ndarray, ...],
    ) -> None:
        """Compute the candidates' exact values and keep the positive ones.

        `by_feature` are pointer, position, rows and f of `cpu_entries.transpose`, changed in place.
        """
        candidates = by_feature[0][-1]
        parameters = weights.W_enc.numpy(), weights.b_enc.numpy()
        run(exact_values, *by_feature, *parameters, x.numpy(), self.n_kept)
        close_gaps(*by_feature, self.n_kept)
        if candidates > MAX_CANDIDATES * self.pre.numel():
            self.limit /= 2


def bits(tensor: BFloat16[torch.Tensor, "*shape"]) -> UInt16[np.ndarray, "*shape"]:
    """Return the bits of a bfloat16 tensor, sharing its memory."""
    return tensor.view(torch.uint16).numpy()


@jit
def round_rows(thread, start, stop, matrix, rounded, norms):
    """Call `round_row` for rows [start, stop)."""
    for b in range(start, stop):
        round_row(matrix, b, rounded, norms)


@jit
def exact_values(thread, start, stop, pointer, position, rows, f, W_enc, b_enc, x, n_kept):
    """Compute a thread's candidates and move the positive ones to the front of their part.

    A part holds the entries of one feature and thread; `n_kept` receives the number of positive
    ones.
    """
    for k in range(W_enc.shape[0]):
        first = position[thread - 1, k] if thread else pointer[k]
        last = position[thread, k]
        row_dots(f, k, rows, first, last, x, W_enc)
        z = first
        for i in range(first, last):
            rows[z], f[z] = rows[i], f[i] + b_enc[k]
            z += not f[z] <= 0
        n_kept[thread, k] = z - first
