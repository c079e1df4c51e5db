"""The dense step: the same gradients by matrix products, for densities where most of f is used."""

import torch
from einops import rearrange
from jaxtyping import Float

from crosslens.crosscoder.kernels.parameter_matrices import Matrices, Measures


def gradients(
    x: Float[torch.Tensor, "b D"],
    weights: Matrices,
    low: torch.Tensor | None,
    into: Matrices,
    beta: float,
    models: int,
) -> Measures:
    """Gradients of the batch's mean loss (Eqs. 3, 7), written to `into`.

    Products run in the dtype of `low`, a copy of W_enc, if there is one.
    """
    W_enc = weights.W_enc if low is None else low
    size, dtype = len(x), W_enc.dtype
    x_low, W_dec = x.to(dtype), weights.W_dec.to(dtype)
    f = torch.addmm(weights.b_enc.to(dtype), x_low, W_enc.T).relu_()
    residual = torch.addmm(weights.b_dec.to(dtype), f, W_dec).float().sub_(x)
    error = rearrange(residual, "b (n d) -> b n d", n=models).square().sum(dim=(0, 2)) / size
    g = residual.mul_(2 / size)
    g_low = g.to(dtype)
    norms = rearrange(weights.W_dec, "k (n d) -> k n d", n=models).norm(dim=-1)
    sums, norm = f.sum(dim=0).float(), norms.sum(dim=1)
    share = ((beta / size * sums)[:, None] / norms).masked_fill_(norms == 0, 0)
    set_product(into.W_dec, f.T, g_low)
    by_model = rearrange(into.W_dec, "k (n d) -> k n d", n=models)
    by_model.addcmul_(rearrange(weights.W_dec, "k (n d) -> k n d", n=models), share[:, :, None])
    df = torch.addmm((beta / size * norm).to(dtype), g_low, W_dec.T)
    torch.ops.aten.threshold_backward.grad_input(df, f, 0, grad_input=df)
    set_product(into.W_enc, df.T, x_low)
    into.b_enc.copy_(df.sum(dim=0))
    torch.sum(g, dim=0, out=into.b_dec)
    square = torch.stack([m.square().sum() for m in into]).sum()
    l0 = f.sign_().sum(dtype=torch.float32) / size  # five times as fast as counting
    return Measures(error, (sums @ norm) / size, l0, sums > 0, square)


def set_product(into: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
    """into = a @ b, in float32."""
    if a.dtype == into.dtype:
        torch.mm(a, b, out=into)
    else:
        into.copy_(a @ b)
