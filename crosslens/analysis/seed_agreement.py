"""Compare crosscoders that differ in their seed: how many features do they share?

Two features match by the cosine of their decoder vectors, those of all models side by side, in the
best one-to-one assignment (Song et al. 2025, arXiv:2505.20254: the mean over matches is PW-MCC).
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.stats import spearmanr

SAMPLED = 1024  # features of the first crosscoder that are matched; the assignment is cubic in them


class Agreement(NamedTuple):
    """How two crosscoders agree over the matched alive features."""

    features: int  # of the first one that were matched
    mean_cosine: float  # PW-MCC
    same: float  # fraction with a cosine of at least `match_cosine`
    share_correlation: float  # Spearman's, of NRN or MAS
    tail: int  # of the first one's tail, features that were matched
    tail_kept: float  # fraction of these whose match is in the second one's tail


def match_features(
    one: Float[torch.Tensor, "p D"], other: Float[torch.Tensor, "q D"]
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Return rows of both matrices and their cosines, in the best one-to-one assignment."""
    normalize = torch.nn.functional.normalize
    cosine = (normalize(one, dim=1) @ normalize(other, dim=1).T).numpy()
    rows, columns = linear_sum_assignment(cosine, maximize=True)
    return rows, columns, cosine[rows, columns]


def side_by_side(W_dec: Float[torch.Tensor, "n k d"]) -> Float[torch.Tensor, "k D"]:
    """Return each feature's decoder vectors of all models in one row."""
    return W_dec.permute(1, 0, 2).flatten(1)


def compare_seeds(
    decoders: tuple[Float[torch.Tensor, "n p d"], Float[torch.Tensor, "n q d"]],
    shares: tuple[Float[np.ndarray, " p"], Float[np.ndarray, " q"]],
    *,
    match_cosine: float,
    threshold: float,
    seed: int,
) -> Agreement:
    """Return the agreement of two crosscoders over their alive features.

    `shares` are one model's; its tail is above `threshold`. All features of the tail are matched,
    others up to SAMPLED at random.
    """
    chosen = choose(shares[0] > threshold, np.random.default_rng(seed))
    one, other = (side_by_side(W_dec) for W_dec in decoders)
    rows, columns, cosine = match_features(one[torch.from_numpy(chosen)], other)
    if not len(rows):
        return Agreement(0, *[np.nan] * 3, 0, np.nan)
    first, second = shares[0][chosen[rows]], shares[1][columns]
    tail = first > threshold
    both = ~(np.isnan(first) | np.isnan(second))
    correlation = spearmanr(first[both], second[both]).statistic if both.sum() > 2 else np.nan
    kept = float((second[tail] > threshold).mean()) if tail.any() else np.nan
    return Agreement(
        len(rows),
        float(cosine.mean()),
        float((cosine >= match_cosine).mean()),
        float(correlation),
        int(tail.sum()),
        kept,
    )


def choose(tail: np.ndarray, generator: np.random.Generator) -> Int[np.ndarray, " m"]:
    """Return the features that are matched: the tail first, then others at random."""
    others = generator.permutation(np.flatnonzero(~tail))
    return np.concatenate([np.flatnonzero(tail), others])[:SAMPLED]
