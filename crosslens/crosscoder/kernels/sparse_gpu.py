"""Run the sparse step on a GPU: workspace and launches of `gpu`. The host never waits for it."""

import torch
import triton
from jaxtyping import Float, Int, Shaped

from crosslens.crosscoder.kernels import gpu
from crosslens.crosscoder.kernels.parameter_matrices import (
    Matrices,
    StepStats,
    allocate_entries,
    decoder_norms,
    named_tensors,
)
from crosslens.crosscoder.kernels.selection_gpu import Selection

BLOCK = 1024  # entries that a program compresses at a time, and columns of one of Adam's programs
ROWS, FEATURES = 64, 32  # tile of `compress_features`
ENTRIES, CHUNK = 16, 128  # of `decode`: entries summed at a time, and columns of one program
AHEAD, VALUES = 4, 128  # of a feature: rows loaded together, and scalars
# Gradients of features with up to this many entries are computed again rather than stored
# (docs/kernels.md).
RECOMPUTE_MAX_ENTRIES = 4


class SparseGpuKernels:
    """Compute gradients and updates for batches of one size."""

    def __init__(
        self,
        size: int,
        weights: Matrices,
        models: int,
        W_enc_bf16: Float[torch.Tensor, "d_sparse D"] | None,
    ) -> None:
        """Allocate the workspace; `update` maintains `W_enc_bf16`, the encoder's copy of W_enc."""
        d_sparse, D = weights.W_enc.shape
        self.size, self.d_sparse, self.models, self.d = size, d_sparse, models, D // models
        self.W_enc_bf16 = W_enc_bf16
        self.chunks = triton.cdiv(self.d, CHUNK)
        self.blocks = triton.cdiv(D, BLOCK)

        def empty(
            shape: int | tuple[int, ...], dtype: str = "float32"
        ) -> Shaped[torch.Tensor, "*shape"]:
            return torch.empty(shape, dtype=getattr(torch, dtype), device=weights.W_enc.device)

        arrays = allocate_entries(size, d_sparse, empty)
        self.columns, self.rows, self.f, self.by_feature, self.df = arrays
        self.row_lengths, self.feature_lengths = empty(size, "int32"), empty(d_sparse, "int32")
        self.g, self.error = empty((size, D)), empty((size, models, self.chunks))
        self.dots = empty((models, size * d_sparse))
        self.norms, self.shares = empty((d_sparse, models)), empty((d_sparse, models))
        self.sparsity = empty(d_sparse)
        self.decoder_squares, self.encoder_squares = (
            empty((d_sparse, models)),
            empty((d_sparse, self.blocks)),
        )
        self.recompute, self.written = RECOMPUTE_MAX_ENTRIES, self.feature_lengths
        self.selection = Selection(size, weights.W_enc.device)

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
        """Do what `SparseCpuKernels.gradients` does, also without writing rows that are recomputed.

        The encoder's gradient uses x in the dtype of the products, as the encoder reads it. If
        `extended`, no row is recomputed.
        """
        size = self.size
        self.recompute = 0 if extended else RECOMPUTE_MAX_ENTRIES
        self.written = self.feature_lengths
        W_enc = weights.W_enc if self.W_enc_bf16 is None else self.W_enc_bf16
        self.x = x.to(W_enc.dtype)
        pre = torch.addmm(weights.b_enc.to(W_enc.dtype), self.x, W_enc.T)
        if keep is None:
            self.find_nonzeros(pre)
        else:
            self.find_largest(pre, decoder_norms(weights.W_dec, self.models), keep)
        gpu.decode[(size, self.models, self.chunks)](
            self.columns, self.f, self.row_lengths, weights.W_dec, weights.b_dec, x, self.g,
            self.error, 2 / size, self.d_sparse, self.d, ENTRIES, CHUNK,
        )  # fmt: skip
        torch.sum(self.g, dim=0, out=out.b_dec)
        self.backward(weights.W_dec, out, beta / size)
        squares = (self.decoder_squares.sum(), self.encoder_squares.sum(), out.b_dec.square().sum())
        return StepStats(
            self.error.sum(dim=(0, 2)) / size,
            self.sparsity.sum() / size,
            self.row_lengths.sum() / size,
            self.feature_lengths > 0,
            sum(squares, out.b_enc.square().sum()),
            None if keep is None else self.selection.threshold[0].clone(),
        )

    def extend(
        self, features: Int[torch.Tensor, " z"], out: Matrices
    ) -> Float[torch.Tensor, "b D"]:
        """Complete these features' rows of `out`, with zeros if they are inactive; return g.

        `update` reads these rows.
        """
        inactive = self.feature_lengths[features] == 0
        for matrix in (out.W_dec, out.W_enc):
            matrix[features] = matrix[features].masked_fill(inactive[:, None], 0)
        self.written = self.feature_lengths.clone()
        self.written[features] = self.written[features].clamp(min=1)
        return self.g

    def find_nonzeros(self, pre: Float[torch.Tensor, "b d_sparse"]) -> None:
        """Find the nonzeros of f, by row and by feature."""
        by_row = (self.columns, self.f, self.row_lengths)
        gpu.compress_rows[(self.size,)](pre, *by_row, self.d_sparse, None, None, None, 0, BLOCK)
        self.find_by_feature(pre, None, None, None)

    def find_largest(
        self, pre: Float[torch.Tensor, "b d_sparse"], norms: Float[torch.Tensor, " k"], keep: int
    ) -> None:
        """Find the entries of f that BatchTopK keeps, by row and by feature."""
        selection, by_row = self.selection, (self.columns, self.f, self.row_lengths)
        grid, k = (self.size,), self.d_sparse
        gpu.compress_rows[grid](pre, *by_row, k, norms, selection.bound, None, 0, BLOCK)
        n_entries = self.row_lengths.sum()
        gpu.compress_rows[grid](pre, *by_row, k, norms, selection.zero, n_entries, keep, BLOCK)
        selection.select(by_row, norms, keep)
        self.find_by_feature(pre, norms, selection.threshold, selection.last)

    def find_by_feature(
        self, pre: Float[torch.Tensor, "b d_sparse"], *selected: Shaped[torch.Tensor, "..."] | None
    ) -> None:
        """Find each feature's entries; `selected` are the last inputs of `compress_features`."""
        size, k = self.size, self.d_sparse
        gpu.compress_features[(triton.cdiv(k, FEATURES),)](
            pre, self.rows, self.by_feature, self.feature_lengths, size, k, *selected, ROWS,
            FEATURES,
        )  # fmt: skip

    def backward(
        self, W_dec: Float[torch.Tensor, "d_sparse D"], out: Matrices, beta: float
    ) -> None:
        """Compute the gradients of b_enc, W_dec and W_enc from g and x."""
        size, k, d = self.size, self.d_sparse, self.d
        row = triton.next_power_of_2(d)
        gpu.decoder_gradients[(k, self.models)](
            self.rows, self.by_feature, self.feature_lengths, W_dec, self.g, self.dots, self.norms,
            self.shares, out.W_dec, self.decoder_squares, beta, size, d, self.recompute, row,
            num_warps=min(32, max(1, row // 1024)),
        )  # fmt: skip
        gpu.feature_sums[(k,)](
            self.by_feature, self.feature_lengths, self.dots, self.norms, self.df, out.b_enc,
            self.sparsity, beta, size, self.models, VALUES, num_warps=1,
        )  # fmt: skip
        gpu.encoder_gradients[(k, self.blocks)](
            self.rows, self.df, self.feature_lengths, self.x, out.W_enc, self.encoder_squares, size,
            self.models * d, self.recompute, AHEAD, BLOCK,
        )  # fmt: skip

    def update(
        self,
        weights: Matrices,
        moments: tuple[Matrices, Matrices],
        gradients: Matrices,
        adam: tuple,
        *,
        skip_inactive: bool,
    ) -> None:
        """Do what `SparseCpuKernels.update` does; `adam[0]` is in the device's memory."""
        for name, tensors in named_tensors(weights, moments, gradients):
            target = self.W_enc_bf16 if name == "W_enc" else None
            if skip_inactive and name.startswith("W"):
                by_g = (self.by_feature, self.g, self.shares)
                terms = by_g if name == "W_dec" else (self.df, self.x, None)
                gpu.adam_of_features[(self.d_sparse, self.blocks)](
                    *tensors, target, *adam, self.written, self.rows, *terms, self.size,
                    self.d, self.models, self.recompute, AHEAD, BLOCK,
                )  # fmt: skip
            else:
                length = tensors[0].numel()
                grid = (triton.cdiv(length, BLOCK),)
                gpu.adam[grid](*tensors, target, *adam, length, BLOCK)
