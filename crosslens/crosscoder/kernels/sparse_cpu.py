"""The sparse step on a CPU: workspace and threads around the kernels of `cpu`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float

from crosslens.crosscoder.kernels import cpu
from crosslens.crosscoder.kernels.bf16_screen import BELOW, Screen, bits, supported
from crosslens.crosscoder.kernels.parameter_matrices import Matrices, Measures, by_name, entries

EVERY = np.arange(2, dtype=np.int64)  # a pointer by which one row is never silent
NO_BITS, NO_NORMS = np.empty((0, 0), dtype=np.uint16), np.empty((0, 0), dtype=np.float32)


class Cpu:
    """Gradients and updates for batches of one size, with as many threads as PyTorch uses."""

    def __init__(self, size: int, weights: Matrices, models: int, low: torch.Tensor | None) -> None:
        """`low` is a copy of W_enc in bfloat16 for the encoder's product; `update` keeps it."""
        d_sparse, D = weights.W_enc.shape
        self.models, self.low = models, low
        self.threads = min(torch.get_num_threads(), size, d_sparse)
        self.pool = ThreadPoolExecutor(max(1, self.threads - 1))
        self.rows_of_threads = even(size, self.threads)
        # Pages that no entry reaches are never touched.
        places = entries(size, d_sparse, np.empty)
        self.columns, self.rows, self.f, self.by_feature, self.df = places
        self.begin, self.end = (np.empty(size, dtype=np.int64) for _ in range(2))
        self.counts = np.empty((self.threads, d_sparse), dtype=np.int64)
        self.pointer = np.empty(d_sparse + 1, dtype=np.int64)
        self.all_active = np.arange(d_sparse + 1)
        self.g = np.empty((size, D), dtype=np.float32)
        self.g_b_dec = np.empty((self.threads, D), dtype=np.float32)
        self.error = np.empty((self.threads, models))
        self.sums = np.empty((d_sparse, 2))
        dtype = torch.float32 if low is None else low.dtype
        self.pre = torch.empty(size, d_sparse, dtype=dtype)
        self.no_slack = np.zeros(size, dtype=np.float32), np.zeros(d_sparse, dtype=np.float32)
        self.screens = low is None and supported()
        self.screen: Screen | None = None  # made when few enough features fire

    def gradients(
        self, x: Float[torch.Tensor, "b D"], weights: Matrices, into: Matrices, beta: float
    ) -> Measures:
        """As `dense.gradients`, except that rows of `into` of silent features are not written."""
        size = len(x)
        W_dec, x_rows = weights.W_dec.numpy(), x.numpy()
        g_dec, g_enc, g_b_dec, g_b_enc = (m.numpy() for m in into)
        found = self.index(x, weights)
        self.run_rows(
            cpu.decode, self.pointer, self.counts, self.rows, self.by_feature, W_dec,
            weights.b_dec.numpy(), x_rows, np.float32(2 / size), self.g, self.g_b_dec, self.error,
        )  # fmt: skip
        self.g_b_dec.sum(axis=0, out=g_b_dec)
        self.run(
            cpu.backward, self.shares(found), self.pointer, self.rows, self.by_feature, self.df,
            W_dec, x_rows, self.g, np.float32(beta / size), self.models, g_dec, g_enc, g_b_enc,
            self.sums,
        )  # fmt: skip
        sparsity, square = self.sums.sum(axis=0)
        square += np.square(g_b_dec, dtype=np.float64).sum()
        error = torch.from_numpy(self.error.sum(axis=0) / size).float()
        sparsity, l0, square = torch.tensor([sparsity / size, found / size, square]).float()
        active = torch.from_numpy(self.pointer[1:] > self.pointer[:-1])
        return Measures(error, sparsity, l0, active, square)

    def index(self, x: Float[torch.Tensor, "b D"], weights: Matrices) -> int:
        """Find the nonzeros of f by feature; returns their number."""
        screen = self.screen if self.screen and self.screen.on else None
        product = screen.encode(self.run_rows, x, weights) if screen else self.encode(x, weights)
        by_row = (self.begin, self.end, self.columns, self.f)
        by_feature = (self.pointer, self.counts, self.rows, self.by_feature)
        self.run_rows(cpu.compress, *product, *by_row, self.counts)
        cpu.offsets(self.counts, self.pointer)
        self.run_rows(cpu.transpose, *by_row, *by_feature[1:])
        if screen:
            screen.sift(self.run_rows, x, weights, by_feature)
        found = int(self.pointer[-1])
        if self.screens:
            self.decide(found / self.pre.numel(), weights)
        return found

    def decide(self, share: float, weights: Matrices) -> None:
        """Whether the next step screens, by the share of nonzeros."""
        if self.screen is None and share < BELOW:
            self.screen = Screen(weights.W_enc, len(self.g), self.threads)
        if self.screen:
            self.screen.on = share < self.screen.below

    def encode(self, x: Float[torch.Tensor, "b D"], weights: Matrices) -> cpu.Product:
        """Pre-activations (Eqs. 1 and 5), by a product in the dtype of `low` if there is one."""
        W_enc = weights.W_enc if self.low is None else self.low
        torch.mm(x.to(W_enc.dtype), W_enc.T, out=self.pre)
        values = self.pre.view(torch.uint32 if self.low is None else torch.uint16).numpy()
        return cpu.Product(values, *self.no_slack, weights.b_enc.numpy())

    def shares(self, found: int) -> list[int]:
        """Ranges of features with about as many entries for every thread."""
        wanted = [found * t // self.threads for t in range(1, self.threads)]
        cuts = np.searchsorted(self.pointer[:-1], wanted).tolist()
        return [0, *cuts, len(self.pointer) - 1]

    def update(
        self,
        weights: Matrices,
        moments: tuple[Matrices, Matrices],
        gradients: Matrices,
        adam: tuple[float, ...],
        *,
        silent: bool,
    ) -> None:
        """Adam in one pass: clip, moments, weights, and W_enc in bfloat16.

        `adam` are the last arguments of `cpu.adam`; with `silent` the last sparse gradients are
        meant, whose silent rows count as zero.
        """
        scalars = [np.float32(value) for value in adam]
        nothing = copy = NO_BITS, NO_NORMS
        if self.screen:
            copy = bits(self.screen.low), self.screen.norms
        elif self.low is not None:
            copy = bits(self.low), NO_NORMS
        pointer = self.pointer if silent else self.all_active
        bounds = even(len(self.pointer) - 1, self.threads)
        for name, tensors in by_name(weights, moments, gradients):
            target = copy if name == "W_enc" else nothing
            if name.startswith("W"):
                arrays = [t.numpy() for t in tensors]
                self.run(cpu.adam, bounds, pointer, *arrays, *target, *scalars)
            else:
                arrays = [t.numpy()[None] for t in tensors]
                cpu.adam(0, 0, 1, EVERY, *arrays, *nothing, *scalars)

    def run_rows(self, kernel: Callable[..., None], *arguments: object) -> None:
        """`run` over every thread's rows."""
        self.run(kernel, self.rows_of_threads, *arguments)

    def run(self, kernel: Callable[..., None], bounds: list[int], *arguments: object) -> None:
        """Call the kernel once for every thread's range, the first in this thread."""
        ranges = [(t, bounds[t], bounds[t + 1]) for t in range(self.threads)]
        others = [self.pool.submit(kernel, *r, *arguments) for r in ranges[1:]]
        kernel(*ranges[0], *arguments)
        for other in others:
            other.result()


def even(total: int, parts: int) -> list[int]:
    """Bounds of equal ranges."""
    return [total * t // parts for t in range(parts + 1)]
