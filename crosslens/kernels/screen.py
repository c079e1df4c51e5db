"""The encoder's exact float32 nonzeros by way of a bfloat16 product, where hardware has one.

ReLU needs a pre-activation's value only where it is positive. With x~ and w~ rounded to bfloat16,
it differs from their product by at most |x - x~| |w~| + |x| |w - w~|: what lies below zero by more
cannot be positive. The rest, a few in a hundred, are summed in float32. Nothing is approximated.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float

from crosslens.kernels.cpu import WORD, jit, offsets, places, round_row, row_dots
from crosslens.kernels.matrices import Matrices

UNIT = 2.0**-8  # largest relative error of rounding to bfloat16
SPARE = 1.01  # for what rounds within the bound itself
BELOW = 0.06  # share of nonzeros below which screening pays
LIMIT = 0.12  # share of candidates above which it does not


class Screen:
    """The bfloat16 copy of W_enc, kept by Adam, and which entries of f can be positive.

    `run(kernel, *arguments)` calls a kernel for every thread's range of rows.
    """

    def __init__(self, W_enc: Float[torch.Tensor, "d_sparse D"], size: int, threads: int) -> None:
        d_sparse, D = W_enc.shape
        self.below, self.on = BELOW, False
        self.low, self.low_x = torch.empty_like(W_enc, dtype=torch.bfloat16), empty_low(size, D)
        self.rounded = np.empty((d_sparse, 2), dtype=np.float32)
        self.rounded_x = np.empty((size, 2), dtype=np.float32)
        round_rows(0, 0, d_sparse, W_enc.numpy(), bits(self.low), self.rounded)
        self.pre = empty_low(size, d_sparse)
        self.begin, self.end = (np.empty(size, dtype=np.int64) for _ in range(2))
        # Pages that no candidate reaches are never touched.
        self.columns, self.rows = (np.empty(size * d_sparse, dtype=np.int32) for _ in range(2))
        self.values = np.empty(size * d_sparse, dtype=np.float32)
        self.position, self.kept = (np.empty((threads, d_sparse), np.int64) for _ in range(2))
        self.pointer = np.empty(d_sparse + 1, dtype=np.int64)

    def decide(self, share: float) -> None:
        """Whether the next step screens, by the share of nonzeros."""
        self.on = share < self.below

    def index(
        self,
        run: Callable[..., None],
        x: Float[torch.Tensor, "b D"],
        weights: Matrices,
        into: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    ) -> None:
        """The nonzeros of f by feature; `into`: pointer, position, rows, f as of `cpu.transpose`."""
        x_rows, W_enc, b_enc = x.numpy(), weights.W_enc.numpy(), weights.b_enc.numpy()
        run(round_rows, x_rows, bits(self.low_x), self.rounded_x)
        torch.mm(self.low_x, self.low.T, out=self.pre)
        by_row = (self.begin, self.end, self.columns)
        pre = (bits(self.pre), self.rounded_x, *self.bounds(b_enc))
        run(candidates, *pre, *by_row, self.position)
        offsets(self.position, self.pointer)
        run(transpose, *by_row, self.position, self.rows)
        found = (self.pointer, self.position, self.rows, self.values)
        run(exact, *found, W_enc, b_enc, x_rows, self.kept)
        pointer, position, *_ = into
        position[:] = self.kept
        offsets(position, pointer)
        run(settle, *found, self.kept, *into[1:])
        if self.pointer[-1] > LIMIT * len(self.rows):
            self.below /= 2

    def bounds(self, b_enc: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`slack` and `bias` [d_sparse]: an entry can be positive if its product in bfloat16, plus
        the row's norm times slack, plus bias, is.

        The product is itself rounded, by a share of what it is: twice the share of the bound.
        """
        norms, lost = self.rounded_x.T
        share = np.divide(lost, norms, out=np.zeros_like(norms), where=norms > 0).max()
        share += self.low.shape[1] * 2.0**-24  # sums in float32
        norms, lost = self.rounded.T
        slack = SPARE * (1 + 2 * UNIT) * (share * norms + lost)
        bias = b_enc + SPARE * 2 * UNIT * np.abs(b_enc)
        return slack.astype(np.float32), bias.astype(np.float32)


def empty_low(*shape: int) -> torch.Tensor:
    """Memory for bfloat16."""
    return torch.empty(shape, dtype=torch.bfloat16)


def bits(tensor: torch.Tensor) -> np.ndarray:
    """The bits of a bfloat16 tensor, the same memory."""
    return tensor.view(torch.uint16).numpy()


@jit
def round_rows(thread, start, stop, matrix, low, rounded):
    """`round_row` for rows [start, stop)."""
    for b in range(start, stop):
        round_row(matrix, b, low, rounded)


@jit
def candidates(thread, start, stop, pre, rounded_x, slack, bias, begin, end, columns, counts):
    """Entries of rows [start, stop) that can be positive; as `cpu.compress` finds nonzeros."""
    width = pre.shape[1]
    keep = np.zeros((width + WORD - 1) // WORD * WORD, dtype=np.uint8)
    z = start * width
    counts[thread, :] = 0
    for b in range(start, stop):
        begin[b] = z
        norm = rounded_x[b, 0]
        for k in range(width):
            value = np.uint32(np.uint32(pre[b, k]) << np.uint32(16)).view(np.float32)
            keep[k] = not (value + (norm * slack[k] + bias[k]) <= 0)
        z = places(keep, width, columns, z)
        end[b] = z
        for i in range(begin[b], z):
            counts[thread, columns[i]] += 1


@jit
def transpose(thread, start, stop, begin, end, columns, position, rows):
    """The same entries ordered by feature, then row."""
    for b in range(start, stop):
        for i in range(begin[b], end[b]):
            k = columns[i]
            rows[position[thread, k]] = b
            position[thread, k] += 1


@jit
def exact(thread, start, stop, pointer, position, rows, values, W_enc, b_enc, x, kept):
    """Values of this thread's candidates; the positive ones move to the front of their feature's
    part, `kept` says how many they are."""
    for k in range(W_enc.shape[0]):
        first = position[thread - 1, k] if thread else pointer[k]
        last = position[thread, k]
        row_dots(values, k, rows, first, last, x, W_enc)
        z = first
        for i in range(first, last):
            rows[z], values[z] = rows[i], values[i] + b_enc[k]
            z += values[z] > 0
        kept[thread, k] = z - first


@jit
def settle(thread, start, stop, pointer, position, rows, values, kept, ends, to_rows, to_values):
    """Close the gaps that `exact` left; `ends` are begins before, and the ends after."""
    for k in range(kept.shape[1]):
        first = position[thread - 1, k] if thread else pointer[k]
        z = ends[thread, k]
        for i in range(kept[thread, k]):
            to_rows[z + i] = rows[first + i]
            to_values[z + i] = values[first + i]
        ends[thread, k] = z + kept[thread, k]
