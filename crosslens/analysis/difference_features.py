"""Compare a pair's crosscoder with a simpler tool: a sparse autoencoder of the models' difference.

Feature k of the crosscoder writes f_k (D_k^T - D_k^O) into the difference, in the models' own
units; a feature of the autoencoder writes its decoder vector. Activations are positive in both, so
the same change has the same direction, sign included. Base is O, the tuned model T.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float

from crosslens.analysis.specificity import best_matches
from crosslens.crosscoder.model import Crosscoder


class Matches(NamedTuple):
    """How many features have a match in the other dictionary: a cosine of at least the threshold.

    Only alive features count, of the crosscoder only those with an NRN*: the others are too rare.
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
    """Match the changes that a pair's features write with the features of differences.

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
    """Return which vectors of `a` have a cosine of at least `threshold` with a kept one of `b`."""
    return (best_matches(a, b, kept) >= threshold).numpy()
