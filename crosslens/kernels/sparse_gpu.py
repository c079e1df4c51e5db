"""The sparse step on a GPU: workspace and launches of `gpu`; the host never waits for it."""

import torch
import triton
from jaxtyping import Float

from crosslens.kernels import gpu
from crosslens.kernels.matrices import Matrices, Measures, by_name, entries

BLOCK = 1024  # places of a row that one program compresses at a time
ROWS, FEATURES = 64, 32  # tile of `compress_features`
ENTRIES, CHUNK = 16, 256  # entries summed at a time, and columns of one program


class Gpu:
    """Gradients and updates for batches of one size."""

    def __init__(
        self, size: int, d_sparse: int, D: int, models: int, device: torch.device | str
    ) -> None:
        self.size, self.d_sparse, self.models, self.d = size, d_sparse, models, D // models
        self.chunks = triton.cdiv(self.d, CHUNK)

        def empty(shape: int | tuple[int, ...], dtype: str = "float32") -> torch.Tensor:
            return torch.empty(shape, dtype=getattr(torch, dtype), device=device)

        places = entries(size, d_sparse, empty)
        self.columns, self.rows, self.f, self.by_feature, self.df = places
        self.of_row, self.of_feature = empty(size, "int32"), empty(d_sparse, "int32")
        self.g, self.error = empty((size, D)), empty((size, models, self.chunks))
        self.norms, self.sparsity = empty((d_sparse, models)), empty(d_sparse)
        self.squares = empty((d_sparse, models * self.chunks))

    def gradients(
        self,
        pre: Float[torch.Tensor, "b d_sparse"],
        x: Float[torch.Tensor, "b D"],
        weights: Matrices,
        into: Matrices,
        beta: float,
    ) -> Measures:
        """As `sparse_cpu.Cpu.gradients`."""
        size, k = self.size, self.d_sparse
        self.index(pre)
        gpu.decode[(size, self.models, self.chunks)](
            self.columns, self.f, self.of_row, weights.W_dec, weights.b_dec, x, self.g, self.error,
            2 / size, k, self.d, ENTRIES, CHUNK,
        )  # fmt: skip
        torch.sum(self.g, dim=0, out=into.b_dec)
        gpu.feature_dots[(k,)](
            self.rows, self.by_feature, self.of_feature, weights.W_dec, self.g, self.df, into.b_enc,
            self.norms, self.sparsity, beta / size, size, self.d, self.models, ENTRIES, CHUNK,
        )  # fmt: skip
        gpu.feature_gradients[(k, self.models, self.chunks)](
            self.rows, self.by_feature, self.df, self.of_feature, weights.W_dec, x, self.g,
            self.norms, into.W_dec, into.W_enc, self.squares, beta / size, size, self.d,
            self.models, ENTRIES, CHUNK,
        )  # fmt: skip
        square = self.squares.sum() + into.b_dec.square().sum() + into.b_enc.square().sum()
        return Measures(
            self.error.sum(dim=(0, 2)) / size,
            self.sparsity.sum() / size,
            self.of_row.sum() / size,
            self.of_feature > 0,
            square,
        )

    def index(self, pre: Float[torch.Tensor, "b d_sparse"]) -> None:
        """Find the nonzeros of f, by row and by feature."""
        size, k = self.size, self.d_sparse
        gpu.compress_rows[(size,)](pre, self.columns, self.f, self.of_row, k, BLOCK)
        gpu.compress_features[(triton.cdiv(k, FEATURES),)](
            pre, self.rows, self.by_feature, self.of_feature, size, k, ROWS, FEATURES
        )

    def update(
        self,
        weights: Matrices,
        moments: tuple[Matrices, Matrices],
        gradients: Matrices,
        low: torch.Tensor | None,
        adam: tuple,
        *,
        silent: bool,
    ) -> None:
        """As `sparse_cpu.Cpu.update`; the first of `adam` is in the device's memory."""
        for name, tensors in by_name(weights, moments, gradients):
            rows, width = (1, *tensors[0].shape)[-2:]
            target = low if name == "W_enc" else None
            gpu.adam[(rows, triton.cdiv(width, BLOCK))](
                self.of_feature, *tensors, tensors[0] if target is None else target, *adam, width,
                silent and name.startswith("W"), target is not None, BLOCK,
            )  # fmt: skip
