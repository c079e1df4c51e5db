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

FAR = (0.3, 0.7)  # NRN* below or above which a feature is specific to a model


class Matches(NamedTuple):
    """How many features have a match in the other dictionary: a cosine of at least the threshold.

    Only alive features count. A feature without an NRN*, too rare for it, is in neither group.
    """

    specific: int  # features of the crosscoder that NRN* finds specific to a model
    specific_matched: int
    other: int  # its other features
    other_matched: int
    differences: int  # features of the autoencoder
    differences_matched: int  # with any feature of the crosscoder
    differences_specific: int  # with a specific one


def match_differences(
    pair: Crosscoder,
    nrn_star: Float[np.ndarray, " k"],
    alive: Bool[np.ndarray, " k"],
    autoencoder: Crosscoder,
    autoencoder_alive: Bool[np.ndarray, " m"],
    threshold: float,
) -> Matches:
    """Match the changes that a pair's features write with the features of differences."""
    base, tuned = pair.directions()
    writes, changes = (tuned - base)[None], autoencoder.directions()
    far = (nrn_star < FAR[0]) | (nrn_star > FAR[1])
    specific, other = alive & far, alive & ~far & ~np.isnan(nrn_star)
    own = similar(writes, changes, autoencoder_alive, threshold)
    return Matches(
        int(specific.sum()),
        int((own & specific).sum()),
        int(other.sum()),
        int((own & other).sum()),
        int(autoencoder_alive.sum()),
        int((similar(changes, writes, alive, threshold) & autoencoder_alive).sum()),
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
