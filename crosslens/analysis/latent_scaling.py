"""Is a feature specific to a model, or was its decoder in the other models only shrunk?

Latent scaling (Minder et al. 2025, arXiv:2504.02922) for N models, with fixed weights, in one pass.
The probe of feature k is u_k, its longest decoder vector; i* is the model that has it. For a target
y, beta(y) = sum_t f_k <u_k, y_t> / (|u_k|^2 sum_t f_k^2) minimizes sum_t |y_t - beta f_k u_k|^2.
Targets in model i, with x less the decoder's bias and e = x - x_hat:

- error: e^i + f_k D_k^i, what model i leaves to feature k;
- reconstruction: x_hat^i less the bias, what all features together write;
- activation: x^i less the bias.

A ratio nu_j = beta_j / beta_i* near 0 for the error and small for the reconstruction says that
model j lacks the feature. L1 makes a decoder of zero of what is weak in j: only the error tells.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int

from crosslens.crosscoder.heldout import Batch, feature_sums
from crosslens.crosscoder.model import Crosscoder

CHUNK = 1 << 25  # numbers that are gathered at a time
# Minder et al.: absent below both, in absolute value; present above the third is ours.
ABSENT_ERROR, ABSENT_RECONSTRUCTION, PRESENT_ACTIVATION = 0.2, 0.5, 0.5
RARE = 100  # firings below which nothing is said of a feature
TOO_RARE, UNDECIDED = "too rare", "undecided"


class Scaling(NamedTuple):
    """Latent scaling of every feature; NaN for a feature that never fired."""

    firings: Int[torch.Tensor, " k"]
    probe: Int[torch.Tensor, " k"]  # i*, the model with the longest decoder vector
    beta_error: Float[torch.Tensor, "n k"]
    beta_reconstruction: Float[torch.Tensor, "n k"]
    beta_activation: Float[torch.Tensor, "n k"]
    rho: Float[torch.Tensor, "n k"]  # <u_k, D_k^i> / |u_k|^2
    stderr: Float[torch.Tensor, "n k"]  # of beta_error, over rows taken as independent

    @property
    def nu_error(self) -> Float[torch.Tensor, "n k"]:
        """Return the beta of the error relative to that of model i*; NaN unless that is above 0."""
        return relative(self.beta_error, self.probe)

    @property
    def nu_reconstruction(self) -> Float[torch.Tensor, "n k"]:
        """Return the beta of the reconstruction relative to that of model i*."""
        return relative(self.beta_reconstruction, self.probe)

    @property
    def nu_activation(self) -> Float[torch.Tensor, "n k"]:
        """Return the beta of the activation relative to that of model i*."""
        return relative(self.beta_activation, self.probe)


def relative(
    beta: Float[torch.Tensor, "n k"], probe: Int[torch.Tensor, " k"]
) -> Float[torch.Tensor, "n k"]:
    """Divide by the value of each feature's model i*; NaN where that is not positive."""
    own = beta.gather(0, probe[None])
    return torch.where(own > 0, beta / own, torch.nan)


def debiased(beta_error: Float[torch.Tensor, "n k"]) -> Float[torch.Tensor, "n k"]:
    """Return each model's share of a feature, without the shrinkage of an L1 penalty.

    MAS*, whose second row is NRN* in a pair: max(beta, 0) of the error over its sum. NaN where no
    beta is positive.
    """
    positive = beta_error.clamp(min=0)
    total = positive.sum(dim=0)
    return torch.where(total > 0, positive / total, torch.nan)


class ScalingSums:
    """Collect five sums for each feature and model, in float64: F = sum f, S = sum f^2,
    A = sum f <u, x>, E = sum f <u, e>, Q = sum f^2 <u, e>^2."""

    def __init__(self, crosscoder: Crosscoder) -> None:
        self.W_dec, self.b_dec = crosscoder.W_dec.detach(), crosscoder.b_dec.detach()
        n, k, _ = self.W_dec.shape
        self.probe = self.W_dec.norm(dim=-1).argmax(dim=0)
        self.u = self.W_dec[self.probe, torch.arange(k, device=self.probe.device)]
        self.firings = torch.zeros(k, dtype=torch.int64, device=self.u.device)
        self.sums = torch.zeros(k, 2 + 3 * n, dtype=torch.float64, device=self.u.device)

    def add(self, batch: Batch) -> None:
        """Add a batch's sums, from the rows and features of its nonzeros."""
        rows, features, values = batch.entries
        f = values.double()[:, None]
        both = torch.cat([batch.x, batch.x - batch.x_hat], dim=1)
        x, e = self.dots(both, rows, features).chunk(2, dim=1)
        terms = torch.cat([f, f * f, f * x, f * e, (f * e).square()], dim=1)
        self.sums += feature_sums(batch.entries, terms, len(self.u))
        self.firings += torch.bincount(features, minlength=len(self.u))

    def dots(
        self,
        y: Float[torch.Tensor, "b m d"],
        rows: Int[torch.Tensor, " z"],
        features: Int[torch.Tensor, " z"],
    ) -> Float[torch.Tensor, "z m"]:
        """Return <u, y> of every entry's feature and row, a bounded number at a time."""
        size = max(1, CHUNK // y[0].numel())
        parts = zip(rows.split(size), features.split(size), strict=True)
        products = [torch.einsum("zmd,zd->zm", y[r], self.u[k]).double() for r, k in parts]
        return torch.cat(products) if products else y.new_zeros(0, y.shape[1], dtype=torch.float64)

    def scaling(self) -> Scaling:
        """Return betas and their standard errors."""
        n = len(self.W_dec)
        F, S, *rest = self.sums.T
        A, E, Q = torch.stack(rest).split(n)
        u = self.u.double()
        length = u.square().sum(dim=1)
        rho = torch.einsum("nkd,kd->nk", self.W_dec.double(), u) / length
        bias = F * (self.b_dec.double() @ u.T)
        unit = S * length
        result = Scaling(
            self.firings, self.probe,
            E / unit + rho, (A - E - bias) / unit, (A - bias) / unit, rho, Q.sqrt() / unit,
        )  # fmt: skip
        return Scaling(*(part.cpu() for part in result))


def absent(scaling: Scaling) -> Bool[torch.Tensor, "n k"]:
    """Return which models lack which features: neither their errors need it, nor do others of
    their features write it."""
    by_error = scaling.nu_error.abs() < ABSENT_ERROR
    return by_error & (scaling.nu_reconstruction.abs() < ABSENT_RECONSTRUCTION)


def patterns(scaling: Scaling, models: Sequence[str]) -> list[str]:
    """Return which models have each feature: their names joined by "+", or why it is not known.

    A model lacks a feature by `absent`; it has one when nu of its activation is above one half;
    else the feature is undecided. One that fired less than RARE times is too rare. "sft-5+rl-5"
    in a trio is a feature that base lacks.
    """
    lacking = absent(scaling)
    present = ~lacking & (scaling.nu_activation > PRESENT_ACTIVATION)
    decided = (lacking | present).all(dim=0) & present.any(dim=0)
    model_names = []
    for k, firings in enumerate(scaling.firings.tolist()):
        names = [name for name, has in zip(models, present[:, k].tolist(), strict=True) if has]
        joined = "+".join(names) if decided[k] else UNDECIDED
        model_names.append(joined if firings >= RARE else TOO_RARE)
    return model_names
