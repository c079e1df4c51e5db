"""The dense step: the same gradients by matrix products, for densities where most of f is used."""

import torch
from einops import rearrange
from jaxtyping import Float

from crosslens.kernels.matrices import Matrices, Measures


def gradients(
    pre: Float[torch.Tensor, "b d_sparse"],
    x: Float[torch.Tensor, "b D"],
    weights: Matrices,
    into: Matrices,
    beta: float,
    models: int,
) -> Measures:
    """Gradients of the batch's mean loss (Eqs. 3, 7) at these pre-activations, written to `into`.

    Products run in the dtype of `pre`; it is overwritten.
    """
    size, low = len(x), pre.dtype
    f = pre.relu_()
    W_dec = weights.W_dec.to(low)
    residual = torch.addmm(weights.b_dec.to(low), f, W_dec).float().sub_(x)
    error = rearrange(residual, "b (n d) -> b n d", n=models).square().sum(dim=(0, 2)) / size
    g = residual.mul_(2 / size)
    g_low = g.to(low)
    norms = rearrange(weights.W_dec, "k (n d) -> k n d", n=models).norm(dim=-1)
    sums, norm = f.sum(dim=0).float(), norms.sum(dim=1)
    share = ((beta / size * sums)[:, None] / norms).masked_fill_(norms == 0, 0)
    set_product(into.W_dec, f.T, g_low)
    by_model = rearrange(into.W_dec, "k (n d) -> k n d", n=models)
    by_model.addcmul_(rearrange(weights.W_dec, "k (n d) -> k n d", n=models), share[:, :, None])
    df = torch.addmm((beta / size * norm).to(low), g_low, W_dec.T)
    torch.ops.aten.threshold_backward.grad_input(df, f, 0, grad_input=df)
    set_product(into.W_enc, df.T, x.to(low))
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
