"""Run the sparse step on a CPU: workspace and threads around the kernels of `cpu`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from crosslens.crosscoder.kernels import cpu, cpu_entries
from crosslens.crosscoder.kernels.bf16_screen import SCREEN_BELOW, Screen, bits, is_supported
from crosslens.crosscoder.kernels.parameter_matrices import (
    Matrices,
    StepStats,
    allocate_entries,
    decoder_norms,
    named_tensors,
)
from crosslens.crosscoder.kernels.selection_cpu import Selection

ALWAYS_ACTIVE = np.arange(2, dtype=np.int64)  # pointer of a single row with one entry
NO_BITS, NO_NORMS = np.empty((0, 0), dtype=np.uint16), np.empty((0, 0), dtype=np.float32)


class SparseCpuKernels:
    """Compute gradients and updates for batches of one size, with PyTorch's number of threads."""

    def __init__(
        self,
        size: int,
        weights: Matrices,
        models: int,
        W_enc_bf16: Float[torch.Tensor, "d_sparse D"] | None,
    ) -> None:
        """Allocate the workspace; `update` maintains `W_enc_bf16`, the encoder's copy of W_enc."""
        d_sparse, D = weights.W_enc.shape
        self.models, self.W_enc_bf16 = models, W_enc_bf16
        self.threads = min(torch.get_num_threads(), size, d_sparse)
        self.pool = ThreadPoolExecutor(max(1, self.threads - 1))
        self.rows_of_threads = even_ranges(size, self.threads)
        # The operating system provides a page of these when an entry is first written to it.
        arrays = allocate_entries(size, d_sparse, np.empty)
        self.columns, self.rows, self.f, self.by_feature, self.df = arrays
        self.begin, self.end = (np.empty(size, dtype=np.int64) for _ in range(2))
        self.counts = np.empty((self.threads, d_sparse), dtype=np.int64)
        self.pointer = np.empty(d_sparse + 1, dtype=np.int64)
        self.written = self.pointer  # of the features whose rows of gradients are written
        self.all_active = np.arange(d_sparse + 1)
        self.g = np.empty((size, D), dtype=np.float32)
        self.g_b_dec = np.empty((self.threads, D), dtype=np.float32)
        self.error = np.empty((self.threads, models))
        self.sums = np.empty((d_sparse, 2))
        dtype = torch.float32 if W_enc_bf16 is None else W_enc_bf16.dtype
        self.pre = torch.empty(size, d_sparse, dtype=dtype)
        self.no_slack = np.zeros(size, dtype=np.float32), np.zeros(d_sparse, dtype=np.float32)
        self.screens = W_enc_bf16 is None and is_supported()
        self.screen: Screen | None = None  # created once few enough features fire
        self.selection: Selection | None = None  # created by the first step with BatchTopK

    def gradients(
        self,
        x: Float[torch.Tensor, "b D"],
        weights: Matrices,
        out: Matrices,
        beta: float,
        keep: int | None = None,
        *,
        extended: bool = False,
    ) -> StepStats:
        """Do what `dense.gradients` does, without writing rows of `out` of inactive features.

        With `keep`, f has only that many entries (BatchTopK). `extended` announces a call of
        `extend`, which changes nothing on a CPU.
        """
        size = len(x)
        W_dec, x_rows = weights.W_dec.numpy(), x.numpy()
        g_dec, g_enc, g_b_dec, g_b_enc = (m.numpy() for m in out)
        count = self.find_nonzeros(x, weights, keep)
        self.written = self.pointer
        self.run_rows(
            cpu.decode, self.pointer, self.counts, self.rows, self.by_feature, W_dec,
            weights.b_dec.numpy(), x_rows, np.float32(2 / size), self.g, self.g_b_dec, self.error,
        )  # fmt: skip
        self.g_b_dec.sum(axis=0, out=g_b_dec)
        self.run_features(
            cpu.backward, self.pointer, self.rows, self.by_feature, self.df, W_dec, x_rows, self.g,
            np.float32(beta / size), self.models, g_dec, g_enc, g_b_enc, self.sums,
        )  # fmt: skip
        sparsity, norm_sq = self.sums.sum(axis=0)
        norm_sq += np.square(g_b_dec, dtype=np.float64).sum()
        scalars = torch.tensor([sparsity / size, count / size, norm_sq]).float()
        error = torch.from_numpy(self.error.sum(axis=0) / size).float()
        active = torch.from_numpy(self.pointer[1:] > self.pointer[:-1])
        threshold = torch.tensor(self.selection.threshold) if keep and self.selection else None
        return StepStats(error, scalars[0], scalars[1], active, scalars[2], threshold)

    def extend(
        self, features: Int[torch.Tensor, " z"], out: Matrices
    ) -> Float[torch.Tensor, "b D"]:
        """Complete these features' rows of `out`, with zeros if they are inactive; return g.

        `update` reads these rows.
        """
        active = np.diff(self.pointer) > 0
        inactive = features[torch.from_numpy(~active[features.numpy()])]
        out.W_dec[inactive] = out.W_enc[inactive] = 0
        active[features.numpy()] = True
        self.written = np.concatenate([[0], np.cumsum(active)])
        return torch.from_numpy(self.g)

    def find_nonzeros(
        self, x: Float[torch.Tensor, "b D"], weights: Matrices, keep: int | None
    ) -> int:
        """Find the nonzeros of f by feature, and return their number."""
        if keep is None:
            self.find_above(x, weights, self.no_slack[1])
        else:
            self.find_largest(x, weights, keep)
        count = int(self.pointer[-1])
        if self.screens:
            self.choose_screening(count / self.pre.numel(), weights)
        return count

    def find_largest(self, x: Float[torch.Tensor, "b D"], weights: Matrices, keep: int) -> None:
        """Find the entries of f that BatchTopK keeps."""
        if self.selection is None:
            self.selection = Selection(len(x), len(weights.W_enc), self.threads)
        selection, norms = self.selection, decoder_norms(weights.W_dec, self.models).numpy()
        by_feature = (self.pointer, self.counts, self.rows, self.by_feature)
        certain = False
        while not certain:
            self.find_above(x, weights, selection.bounds(norms))
            certain = selection.select(self.run_features, self.run_rows, by_feature, norms, keep)

    def find_above(
        self, x: Float[torch.Tensor, "b D"], weights: Matrices, bounds: Float[np.ndarray, " k"]
    ) -> None:
        """Find the entries of f above each feature's bound, which is at least zero."""
        screen = self.screen if self.screen and self.screen.on else None
        product = screen.encode(self.run_rows, x, weights) if screen else self.encode(x, weights)
        by_row = (self.begin, self.end, self.columns, self.f)
        by_feature = (self.pointer, self.counts, self.rows, self.by_feature)
        self.run_rows(cpu_entries.compress, *product, bounds, *by_row, self.counts)
        cpu_entries.offsets(self.counts, self.pointer)
        self.run_rows(cpu_entries.transpose, *by_row, *by_feature[1:])
        if screen:
            screen.keep_positive(self.run_rows, x, weights, by_feature)

    def choose_screening(self, density: float, weights: Matrices) -> None:
        """Choose whether the next step screens, by the fraction of nonzeros."""
        if self.screen is None and density < SCREEN_BELOW:
            self.screen = Screen(weights.W_enc, len(self.g), self.threads)
        if self.screen:
            self.screen.on = density < self.screen.limit

    def encode(self, x: Float[torch.Tensor, "b D"], weights: Matrices) -> cpu_entries.Product:
        """Return pre-activations (Eqs. 1 and 5), in the dtype of `W_enc_bf16` if there is one."""
        W_enc = weights.W_enc if self.W_enc_bf16 is None else self.W_enc_bf16
        torch.mm(x.to(W_enc.dtype), W_enc.T, out=self.pre)
        values = self.pre.view(torch.uint32 if self.W_enc_bf16 is None else torch.uint16).numpy()
        return cpu_entries.Product(values, *self.no_slack, weights.b_enc.numpy())

    def balanced_ranges(self, count: int) -> list[int]:
        """Return bounds of features that give every thread about as many of `count` entries."""
        wanted = [count * t // self.threads for t in range(1, self.threads)]
        cuts = np.searchsorted(self.pointer[:-1], wanted).tolist()
        return [0, *cuts, len(self.pointer) - 1]

    def update(
        self,
        weights: Matrices,
        moments: tuple[Matrices, Matrices],
        gradients: Matrices,
        adam: tuple[Any, ...],
        *,
        skip_inactive: bool,
    ) -> None:
        """Clip the gradients and update moments, weights and the copy of W_enc in one pass.

        `adam` are the last arguments of `cpu.adam`. With `skip_inactive`, gradients of features
        that were inactive in the last sparse step count as zero, except those of `extend`.
        """
        scalars = [np.float32(value) for value in adam]
        nothing = copy = NO_BITS, NO_NORMS
        if self.screen:
            copy = bits(self.screen.W_enc_bf16), self.screen.norms
        elif self.W_enc_bf16 is not None:
            copy = bits(self.W_enc_bf16), NO_NORMS
        pointer = self.written if skip_inactive else self.all_active
        bounds = even_ranges(len(self.pointer) - 1, self.threads)
        for name, tensors in named_tensors(weights, moments, gradients):
            target = copy if name == "W_enc" else nothing
            if name.startswith("W"):
                arrays = [t.numpy() for t in tensors]
                self.run(cpu.adam, bounds, pointer, *arrays, *target, *scalars)
            else:
                arrays = [t.numpy()[None] for t in tensors]
                cpu.adam(0, 0, 1, ALWAYS_ACTIVE, *arrays, *nothing, *scalars)

    def run_features(self, kernel: Callable[..., None], *arguments: object) -> None:
        """Call the kernel once for every thread's range of features, balanced by entries."""
        self.run(kernel, self.balanced_ranges(int(self.pointer[-1])), *arguments)

    def run_rows(self, kernel: Callable[..., None], *arguments: object) -> None:
        """Call the kernel once for every thread's range of rows."""
        self.run(kernel, self.rows_of_threads, *arguments)

    def run(self, kernel: Callable[..., None], bounds: list[int], *arguments: object) -> None:
        """Call the kernel once for every thread's range, the first one in this thread."""
        ranges = [(t, bounds[t], bounds[t + 1]) for t in range(self.threads)]
        others = [self.pool.submit(kernel, *r, *arguments) for r in ranges[1:]]
        kernel(*ranges[0], *arguments)
        for other in others:
            other.result()


def even_ranges(total: int, parts: int) -> list[int]:
    """Return the bounds of equal ranges."""
    return [total * t // parts for t in range(parts + 1)]
