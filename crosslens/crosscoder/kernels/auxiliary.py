"""Add BatchTopK's auxiliary loss, by which dead features learn to explain the error of the others.

The loss is alpha |e - sum_k ReLU(a_k) W_dec,k|^2, the sum over models and the mean over rows, as in
Eq. 3; e = x - x_hat is constant. In each row, k runs over the `features` dead features with the
largest f_k n_k (Gao et al. 2024; Bussmann et al. 2024). Dense products are of dead features only.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int

from crosslens.crosscoder.kernels.parameter_matrices import Matrices


class Auxiliary(NamedTuple):
    """The dead features, how many of them each row uses, and the weight alpha of the loss."""

    dead: Int[torch.Tensor, " z"]
    features: int
    weight: float


def codes(
    auxiliary: Auxiliary,
    x: Float[torch.Tensor, "b D"],
    weights: Matrices,
    norms: Float[torch.Tensor, " k"],
    dtype: torch.dtype,
) -> Float[torch.Tensor, "b z"]:
    """Return ReLU(a_k) of the dead features, zero except for those that a row uses."""
    dead = auxiliary.dead
    W_enc, bias = weights.W_enc[dead].to(dtype), weights.b_enc[dead].to(dtype)
    a = torch.addmm(bias, x.to(dtype), W_enc.T).relu_()
    if len(dead) <= auxiliary.features:
        return a
    largest = (a * norms[dead]).topk(auxiliary.features, dim=1, sorted=False).indices
    return torch.zeros_like(a).scatter_(1, largest, a.gather(1, largest))


def add_gradients(
    auxiliary: Auxiliary,
    x: Float[torch.Tensor, "b D"],
    g: Float[torch.Tensor, "b D"],
    weights: Matrices,
    norms: Float[torch.Tensor, " k"],
    out: Matrices,
    dtype: torch.dtype,
) -> Float[torch.Tensor, ""]:
    """Add to the dead features' rows of `out`, and return the growth of its squared norm.

    `g` is 2/b (x_hat - x), and products use `dtype`.
    """
    dead, size = auxiliary.dead, len(x)
    W_dec = weights.W_dec[dead].to(dtype)
    a = codes(auxiliary, x, weights, norms, dtype)
    residual = (a @ W_dec).float().mul_(2 / size).add_(g).mul_(auxiliary.weight).to(dtype)
    da = torch.where(a > 0, residual @ W_dec.T, 0)
    growth = torch.zeros((), device=x.device)
    rows = ((out.W_dec, a.T @ residual), (out.W_enc, da.T @ x.to(dtype)),
            (out.b_enc, da.sum(dim=0)))  # fmt: skip
    for matrix, extra in rows:
        before = matrix[dead]
        after = before + extra.float()
        growth += after.square().sum() - before.square().sum()
        matrix[dead] = after
    return growth
