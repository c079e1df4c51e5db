"""Measure whether a linear map can read a feature from one model's activations alone.

The measure uses no decoder norm, so it decides where NRN and latent scaling disagree: "RL created
feature k" requires that f_k is decodable from RL and not from base. Ridge regression of f_k on x^i
is fitted on one half of the held-out sequences and scored on the other, in both directions.
"""

import torch
from jaxtyping import Float

from crosslens.crosscoder.heldout import Batch, group_sums
from crosslens.crosscoder.model import Crosscoder

RIDGE = 1e-4  # of the mean variance of an activation's dimension, added to each


class DecodabilitySums:
    """Collect the moments of each model's activations and of f, for both halves of the sequences.

    A constant 1 is appended to the activations as the intercept.
    """

    def __init__(self, crosscoder: Crosscoder) -> None:
        n, k, d = crosscoder.W_dec.shape
        device = crosscoder.W_dec.device

        def zeros(*shape: int) -> Float[torch.Tensor, "..."]:
            return torch.zeros(2, *shape, dtype=torch.float64, device=device)

        self.gram, self.cross, self.square = zeros(n, d + 1, d + 1), zeros(k, n, d + 1), zeros(k)

    def add(self, batch: Batch) -> None:
        """Add a batch's moments."""
        b, n, d = batch.x.shape
        k = self.square.shape[1]
        x = torch.cat([batch.x, batch.x.new_ones(b, n, 1)], dim=2)
        half = batch.sequences % 2
        for h in (0, 1):
            mine = x[half == h].double()
            self.gram[h] += torch.einsum("bni,bnj->nij", mine, mine)
        rows, features, values = batch.entries
        groups = features + k * half[rows]
        order = torch.argsort(groups, stable=True)
        rows, values, groups = rows[order], values[order], groups[order]
        sums = group_sums(groups, 2 * k, rows, values, x.reshape(b, -1))
        self.cross += sums.reshape(2, k, n, d + 1)
        one, every = torch.ones_like(values), torch.arange(len(values), device=values.device)
        squares = group_sums(groups, 2 * k, every, one, values.square()[:, None])
        self.square += squares.reshape(2, k)

    def r_squared(self) -> Float[torch.Tensor, "n k"]:
        """Return the R^2 of each feature, predicted from each model's activations.

        R^2 = 1 - (sum of squared errors) / (sum of squared deviations from each half's mean), both
        sums over both halves. NaN for a feature that never fired, or if a half has no row.
        """
        n, k = self.cross.shape[2], self.square.shape[1]
        rows = self.gram[:, 0, -1, -1]
        if not rows.all():
            return torch.full((n, k), torch.nan)
        sums = self.cross[:, :, 0, -1]  # of f, as the extension's products are
        variance = (self.square - sums.square() / rows[:, None]).sum(dim=0)
        models = [self.errors(i, 0, 1) + self.errors(i, 1, 0) for i in range(n)]
        explained = 1 - torch.stack(models) / variance
        return torch.where(variance > 0, explained, torch.nan).float().cpu()

    def errors(self, model: int, fit: int, score: int) -> Float[torch.Tensor, " k"]:
        """Return the summed squared errors on one half of maps fitted on the other."""
        W = ridge(self.gram[fit, model], self.cross[fit, :, model].T)
        square = (W * (self.gram[score, model] @ W)).sum(dim=0)
        product = (W * self.cross[score, :, model].T).sum(dim=0)
        return self.square[score] - 2 * product + square


def ridge(
    gram: Float[torch.Tensor, "e e"], cross: Float[torch.Tensor, "e k"]
) -> Float[torch.Tensor, "e k"]:
    """Return the ridge regression on activations with an appended constant, not penalized."""
    rows, sums = gram[-1, -1], gram[-1]
    total = (gram.diagonal() - sums.square() / rows)[:-1].sum()
    penalty = torch.full_like(sums, RIDGE * total / max(1, len(sums) - 1))
    penalty[-1] = 0
    # The smallest pivot that is not rounding: a dimension that never varies gets weight zero.
    penalty += 1e-12 * gram.diagonal().mean()
    return torch.linalg.solve(gram + penalty.diag(), cross)
