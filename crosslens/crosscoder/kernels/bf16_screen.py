"""The encoder's exact float32 nonzeros by way of a bfloat16 product, where hardware has one.

ReLU needs a pre-activation's value only where it is positive. With x~ and w~ rounded to bfloat16,
it differs from their product by at most |x - x~| |w~| + |x| |w - w~|: what lies below zero by more
cannot be positive. The rest, a few in a hundred, are summed in float32. Nothing is approximated.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float

from crosslens.crosscoder.kernels.cpu import Product, jit, round_row, row_dots
from crosslens.crosscoder.kernels.parameter_matrices import Matrices

UNIT = 2.0**-8  # largest relative error of rounding to bfloat16
SPARE = 1.01  # for what rounds within the bound itself
BELOW = 0.08  # share of nonzeros below which screening pays
TOO_MANY = 0.15  # share of candidates above which it does not


def supported() -> bool:
    """Whether this processor multiplies bfloat16 in hardware, and sums in float32."""
    return torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()


class Screen:
    """The bfloat16 copy of W_enc, kept by Adam, and what of f can be positive.

    `run(kernel, *arguments)` calls a kernel for every thread's range of rows.
    """

    def __init__(self, W_enc: Float[torch.Tensor, "d_sparse D"], size: int, threads: int) -> None:
        d_sparse, D = W_enc.shape
        self.below, self.on = BELOW, False
        self.low = torch.empty_like(W_enc, dtype=torch.bfloat16)
        self.low_x = torch.empty(size, D, dtype=torch.bfloat16)
        self.pre = torch.empty(size, d_sparse, dtype=torch.bfloat16)
        self.norms = np.empty((d_sparse, 2), dtype=np.float32)
        self.norms_x = np.empty((size, 2), dtype=np.float32)
        self.kept = np.empty((threads, d_sparse), dtype=np.int64)
        round_rows(0, 0, d_sparse, W_enc.numpy(), bits(self.low), self.norms)

    def encode(
        self, run: Callable[..., None], x: Float[torch.Tensor, "b D"], weights: Matrices
    ) -> Product:
        """What each entry is at most: the product in bfloat16, plus the row's norm times slack,
        plus bias.

        If x.w > -b, the exact product of the rounded vectors is at least -b - N, N the bound, and
        rounding it takes at most UNIT (|b| + N) more: so much is added to slack and bias. Norms
        whose squares underflow float32 (entries below 1e-20) are outside of this.
        """
        run(round_rows, x.numpy(), bits(self.low_x), self.norms_x)
        torch.mm(self.low_x, self.low.T, out=self.pre)
        norms, lost = np.ascontiguousarray(self.norms_x.T)
        share = np.divide(lost, norms, out=np.zeros_like(norms), where=norms > 0).max()
        share += self.low.shape[1] * 2.0**-24  # sums in float32
        slack = SPARE * (1 + 2 * UNIT) * (share * self.norms[:, 0] + self.norms[:, 1])
        bias = weights.b_enc.numpy()
        bias = bias + SPARE * 2 * UNIT * np.abs(bias)
        return Product(bits(self.pre), norms, slack.astype(np.float32), bias.astype(np.float32))

    def sift(
        self,
        run: Callable[..., None],
        x: Float[torch.Tensor, "b D"],
        weights: Matrices,
        found: tuple[np.ndarray, ...],
    ) -> None:
        """Leave the positive ones of the entries that `cpu.transpose` found, with their values;
        `found`: pointer, position, rows, f."""
        candidates = found[0][-1]
        run(exact, *found, weights.W_enc.numpy(), weights.b_enc.numpy(), x.numpy(), self.kept)
        close(*found, self.kept)
        if candidates > TOO_MANY * self.pre.numel():
            self.below /= 2


def bits(tensor: torch.Tensor) -> np.ndarray:
    """The bits of a bfloat16 tensor, the same memory."""
    return tensor.view(torch.uint16).numpy()


@jit
def round_rows(thread, start, stop, matrix, low, norms):
    """`round_row` for rows [start, stop)."""
    for b in range(start, stop):
        round_row(matrix, b, low, norms)


@jit
def exact(thread, start, stop, pointer, position, rows, f, W_enc, b_enc, x, kept):
    """Values of this thread's candidates; the positive ones move to the front of their feature's
    part, `kept` says how many they are."""
    for k in range(W_enc.shape[0]):
        first = position[thread - 1, k] if thread else pointer[k]
        last = position[thread, k]
        row_dots(f, k, rows, first, last, x, W_enc)
        z = first
        for i in range(first, last):
            rows[z], f[z] = rows[i], f[i] + b_enc[k]
            z += not f[z] <= 0
        kept[thread, k] = z - first


@jit
def close(pointer, position, rows, f, kept):
    """Close the gaps that `exact` left in the parts of features and threads."""
    z = begin = 0
    for k in range(kept.shape[1]):
        pointer[k] = z
        for t in range(kept.shape[0]):
            for i in range(begin, begin + kept[t, k]):
                rows[z], f[z] = rows[i], f[i]
                z += 1
            begin = position[t, k]
            position[t, k] = z
    pointer[kept.shape[1]] = z
