"""Compare a two-model crosscoder with a sparse autoencoder of the models' difference.

With base O and the tuned model T, feature k of the crosscoder adds f_k (D_k^T - D_k^O) to the
difference of activations, in the models' own units. A feature of the autoencoder adds its decoder
vector. Activations are positive in both, so equal changes have equal directions, sign included.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float

from crosslens.analysis.specificity import best_matches
from crosslens.crosscoder.model import Crosscoder


class Matches(NamedTuple):
    """Count features with a match in the other dictionary: a cosine of at least the threshold.

    Only alive features count, and for the crosscoder only those frequent enough to have an NRN*.
    """

    specific: int  # features of the crosscoder whose NRN* is farthest from 0.5
    specific_matched: int
    other: int  # its other features
    other_matched: int
    differences: int  # features of the autoencoder
    differences_matched: int  # with any feature of the crosscoder
    differences_specific: int  # with one of the most specific ones


def match_differences(
    pair: Crosscoder,
    nrn_star: Float[np.ndarray, " k"],
    alive: Bool[np.ndarray, " k"],
    autoencoder: Crosscoder,
    autoencoder_alive: Bool[np.ndarray, " m"],
    count: int,
    threshold: float,
) -> Matches:
    """Match the changes that a crosscoder's features write with the autoencoder's features.

    The `count` most specific features are compared with the others.
    """
    base, tuned = pair.directions()
    writes, changes = (tuned - base)[None], autoencoder.directions()
    scored = alive & ~np.isnan(nrn_star)
    distances = np.where(scored, np.abs(nrn_star - 0.5), -1)
    specific = np.zeros_like(scored)
    specific[np.argsort(-distances, kind="stable")[: min(count, scored.sum())]] = True
    own = similar(writes, changes, autoencoder_alive, threshold)
    return Matches(
        int(specific.sum()),
        int((own & specific).sum()),
        int((scored & ~specific).sum()),
        int((own & scored & ~specific).sum()),
        int(autoencoder_alive.sum()),
        int((similar(changes, writes, scored, threshold) & autoencoder_alive).sum()),
        int((similar(changes, writes, specific, threshold) & autoencoder_alive).sum()),
    )


def similar(
    a: Float[torch.Tensor, "1 p d"],
    b: Float[torch.Tensor, "1 q d"],
    kept: Bool[np.ndarray, " q"],
    threshold: float,
) -> Bool[np.ndarray, " p"]:
    """Return which vectors of `a` have a cosine of at least `threshold` with a kept row of `b`."""
    return (best_matches(a, b, kept) >= threshold).numpy()
