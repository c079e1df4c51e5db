"""View a crosscoder's parameters as matrices with one contiguous row per feature."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import torch
from einops import rearrange
from jaxtyping import Bool, Float

from crosslens.crosscoder.model import Crosscoder

NAMES = ("W_dec", "W_enc", "b_dec", "b_enc")


class Matrices(NamedTuple):
    """Weights, gradients or moments; D = n_models * d_model."""

    W_dec: Float[torch.Tensor, "d_sparse D"]
    W_enc: Float[torch.Tensor, "d_sparse D"]
    b_dec: Float[torch.Tensor, " D"]
    b_enc: Float[torch.Tensor, " d_sparse"]

    @classmethod
    def like(cls, others: "Matrices") -> "Matrices":
        """Return zeros of the same shapes."""
        return cls(*(torch.zeros_like(other) for other in others))

    @classmethod
    def of(cls, tensors: dict[str, Float[torch.Tensor, "..."]]) -> "Matrices":
        """Return views of tensors that have the shapes and layout of a crosscoder's parameters."""
        return cls(
            rearrange(tensors["W_dec"], "n k d -> k (n d)"),
            rearrange(tensors["W_enc"], "n d k -> k (n d)"),
            rearrange(tensors["b_dec"], "n d -> (n d)"),
            tensors["b_enc"],
        )

    def parameters(self, n_models: int) -> dict[str, Float[torch.Tensor, "..."]]:
        """Return the same memory in the shapes of a crosscoder's parameters."""
        return {
            "W_dec": rearrange(self.W_dec, "k (n d) -> n k d", n=n_models),
            "W_enc": rearrange(self.W_enc, "k (n d) -> n d k", n=n_models),
            "b_dec": rearrange(self.b_dec, "(n d) -> n d", n=n_models),
            "b_enc": self.b_enc,
        }


def weights_of(crosscoder: Crosscoder) -> Matrices:
    """Return the crosscoder's parameters as matrices that share their memory."""
    return Matrices.of({name: getattr(crosscoder, name).data for name in NAMES})


def decoder_norms(
    W_dec: Float[torch.Tensor, "d_sparse D"], models: int
) -> Float[torch.Tensor, " d_sparse"]:
    """Return n_k = sum_i |W_dec,k^i|_2 of every feature."""
    return rearrange(W_dec, "k (n d) -> k n d", n=models).norm(dim=2).sum(dim=1)


def named_tensors(
    weights: Matrices, moments: tuple[Matrices, Matrices], gradients: Matrices
) -> Iterator[tuple[str, tuple[Float[torch.Tensor, "*shape"], ...]]]:
    """Yield each parameter's name, and its weights, two moments and gradient for Adam."""
    tensors = zip(weights, *moments, gradients, strict=True)
    return zip(Matrices._fields, tensors, strict=True)


Array = TypeVar("Array")


def allocate_entries(
    size: int, d_sparse: int, empty: Callable[[int, str], Array]
) -> tuple[Array, ...]:
    """Allocate memory for all entries that a batch's f may have; `empty(length, dtype)` is used.

    Returns columns and rows (int32), then f by row, f by feature and df by feature (float32).
    """
    dtypes = ("int32", "int32", "float32", "float32", "float32")
    return tuple(empty(size * d_sparse, dtype) for dtype in dtypes)


class StepStats(NamedTuple):
    """Statistics of one step on its device: means over the batch, before the update."""

    error: Float[torch.Tensor, " n"]  # squared error of each model
    sparsity: Float[torch.Tensor, ""]
    l0: Float[torch.Tensor, ""]
    active: Bool[torch.Tensor, " d_sparse"]  # features that fired
    grad_norm_sq: Float[torch.Tensor, ""]  # over all parameters
    threshold: Float[torch.Tensor, ""] | None = None  # of f_k n_k, with BatchTopK
