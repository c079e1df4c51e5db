"""The sparse step on a GPU: workspace and launches of `gpu`; the host never waits for it."""

import torch
import triton
from jaxtyping import Float

from crosslens.crosscoder.kernels import gpu
from crosslens.crosscoder.kernels.parameter_matrices import Matrices, Measures, by_name, entries

BLOCK = 1024  # places that one program compresses at a time, and columns of one of Adam's
ROWS, FEATURES = 64, 32  # tile of `compress_features`
ENTRIES, CHUNK = 16, 128  # of `decode`: entries summed at a time, and columns of one program
AHEAD, VALUES = 4, 128  # of a feature: rows fetched together, and scalars
AGAIN = 4  # entries up to which a gradient is summed again rather than kept: docs/kernels.md


class Gpu:
    """Gradients and updates for batches of one size."""

    def __init__(self, size: int, weights: Matrices, models: int, low: torch.Tensor | None) -> None:
        """`low` is a copy of W_enc in bfloat16 for the encoder's product; `update` keeps it."""
        d_sparse, D = weights.W_enc.shape
        self.size, self.d_sparse, self.models, self.d = size, d_sparse, models, D // models
        self.low = low
        self.chunks = triton.cdiv(self.d, CHUNK)
        self.blocks = triton.cdiv(D, BLOCK)

        def empty(shape: int | tuple[int, ...], dtype: str = "float32") -> torch.Tensor:
            return torch.empty(shape, dtype=getattr(torch, dtype), device=weights.W_enc.device)

        places = entries(size, d_sparse, empty)
        self.columns, self.rows, self.f, self.by_feature, self.df = places
        self.of_row, self.of_feature = empty(size, "int32"), empty(d_sparse, "int32")
        self.g, self.error = empty((size, D)), empty((size, models, self.chunks))
        self.dots = empty((models, size * d_sparse))
        self.norms, self.shares = empty((d_sparse, models)), empty((d_sparse, models))
        self.sparsity = empty(d_sparse)
        self.of_dec, self.of_enc = empty((d_sparse, models)), empty((d_sparse, self.blocks))

    def gradients(
        self, x: Float[torch.Tensor, "b D"], weights: Matrices, into: Matrices, beta: float
    ) -> Measures:
        """As `sparse_cpu.Cpu.gradients`; rows of up to AGAIN entries are not written either.

        The encoder's gradient takes x as the encoder sees it, in the dtype of the products.
        """
        size = self.size
        W_enc = weights.W_enc if self.low is None else self.low
        self.x = x.to(W_enc.dtype)
        self.index(torch.addmm(weights.b_enc.to(W_enc.dtype), self.x, W_enc.T))
        gpu.decode[(size, self.models, self.chunks)](
            self.columns, self.f, self.of_row, weights.W_dec, weights.b_dec, x, self.g, self.error,
            2 / size, self.d_sparse, self.d, ENTRIES, CHUNK,
        )  # fmt: skip
        torch.sum(self.g, dim=0, out=into.b_dec)
        self.backward(weights.W_dec, into, beta / size)
        squares = (self.of_dec.sum(), self.of_enc.sum(), into.b_dec.square().sum())
        return Measures(
            self.error.sum(dim=(0, 2)) / size,
            self.sparsity.sum() / size,
            self.of_row.sum() / size,
            self.of_feature > 0,
            sum(squares, into.b_enc.square().sum()),
        )

    def index(self, pre: Float[torch.Tensor, "b d_sparse"]) -> None:
        """Find the nonzeros of f, by row and by feature."""
        size, k = self.size, self.d_sparse
        gpu.compress_rows[(size,)](pre, self.columns, self.f, self.of_row, k, BLOCK)
        gpu.compress_features[(triton.cdiv(k, FEATURES),)](
            pre, self.rows, self.by_feature, self.of_feature, size, k, ROWS, FEATURES
        )

    def backward(
        self, W_dec: Float[torch.Tensor, "d_sparse D"], into: Matrices, beta: float
    ) -> None:
        """Gradients from g and x: of b_enc, and of the features with more than AGAIN entries."""
        size, k, d = self.size, self.d_sparse, self.d
        row = triton.next_power_of_2(d)
        gpu.decoder_gradients[(k, self.models)](
            self.rows, self.by_feature, self.of_feature, W_dec, self.g, self.dots, self.norms,
            self.shares, into.W_dec, self.of_dec, beta, size, d, AGAIN, row,
            num_warps=min(32, max(1, row // 1024)),
        )  # fmt: skip
        gpu.feature_sums[(k,)](
            self.by_feature, self.of_feature, self.dots, self.norms, self.df, into.b_enc,
            self.sparsity, beta, size, self.models, VALUES, num_warps=1,
        )  # fmt: skip
        gpu.encoder_gradients[(k, self.blocks)](
            self.rows, self.df, self.of_feature, self.x, into.W_enc, self.of_enc, size,
            self.models * d, AGAIN, AHEAD, BLOCK,
        )  # fmt: skip

    def update(
        self,
        weights: Matrices,
        moments: tuple[Matrices, Matrices],
        gradients: Matrices,
        adam: tuple,
        *,
        silent: bool,
    ) -> None:
        """As `sparse_cpu.Cpu.update`; the first of `adam` is in the device's memory."""
        for name, tensors in by_name(weights, moments, gradients):
            target = self.low if name == "W_enc" else None
            if silent and name.startswith("W"):
                by_g = (self.by_feature, self.g, self.shares)
                terms = by_g if name == "W_dec" else (self.df, self.x, None)
                gpu.adam_of_features[(self.d_sparse, self.blocks)](
                    *tensors, target, *adam, self.of_feature, self.rows, *terms, self.size,
                    self.d, self.models, AGAIN, AHEAD, BLOCK,
                )  # fmt: skip
            else:
                length = tensors[0].numel()
                grid = (triton.cdiv(length, BLOCK),)
                gpu.adam[grid](*tensors, target, *adam, length, BLOCK)
