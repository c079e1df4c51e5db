"""Features of a difference against those of a pair's crosscoder, on planted directions."""

import numpy as np
import torch

from crosslens.analysis.difference_features import Matches, match_differences
from crosslens.crosscoder.model import Crosscoder

SCALES = torch.tensor([2.0, 4.0])  # of base and the tuned model


def crosscoder(directions: list[list[list[float]]], scales: torch.Tensor) -> Crosscoder:
    """Return a crosscoder that writes `directions`, [n, k, d], in the models' own units."""
    vectors = torch.tensor(directions)
    found = Crosscoder(*vectors.shape[:1], vectors.shape[2], vectors.shape[1])
    found.scales.copy_(scales)
    with torch.no_grad():
        found.W_dec.copy_(vectors * scales[:, None, None])
    return found


def test_a_change_is_matched_whatever_the_models_share() -> None:
    """Planted in the pair: 0 only in the tuned model, 1 only in base, 2 shared and longer in the
    tuned model, 3 shared and turned, 4 dead, 5 too rare for an NRN*."""
    base = [[0.0, 0, 0], [0, 1, 0], [0, 0, 2], [1, 1, 0], [0, 0, 0], [0, 0, 0]]
    tuned = [[2.0, 0, 0], [0, 0, 0], [0, 0, 3], [1, 1.2, 0], [0, -5, 0], [1, 0, 0]]
    pair = crosscoder([base, tuned], SCALES)
    star = np.array([0.9, 0.1, 0.6, 0.5, 0.9, np.nan])
    alive = np.array([True, True, True, True, False, True])
    # Of the difference: a new feature; base's, gone; the longer one; another change; a dead one.
    changes = [[3.0, 0.3, 0], [0, -2, 0], [0, 0, 1], [-1, 0, -1], [0, 1, 0]]
    found = match_differences(
        pair,
        star,
        alive,
        crosscoder([changes], torch.tensor([7.0])),
        np.array([True, True, True, True, False]),
        2,
        0.7,
    )
    assert found == Matches(
        specific=2,
        specific_matched=2,
        other=2,
        other_matched=1,  # what turns 3 is a dead feature of the difference
        differences=4,
        differences_matched=3,
        differences_specific=2,
    )


def test_the_sign_of_a_change_counts() -> None:
    pair = crosscoder([[[0.0, 1]], [[0, 0]]], SCALES)  # base's feature, gone: (0, -1)
    one = np.array([True])
    for change, expected in (([0.0, -3], 1), ([0, 3], 0)):
        other = crosscoder([[change]], torch.tensor([1.0]))
        found = match_differences(pair, np.array([0.0]), one, other, one, 1, 0.7)
        assert found.specific_matched == found.differences_specific == expected


def test_dictionaries_without_relation_match_no_more_than_chance() -> None:
    """Random directions in 64 dimensions: the largest of 100 cosines is below 0.7."""
    generator = torch.manual_seed(0)
    pair = crosscoder(torch.randn(2, 100, 64, generator=generator).tolist(), SCALES)
    other = crosscoder(torch.randn(1, 100, 64, generator=generator).tolist(), SCALES[:1])
    every = np.ones(100, dtype=bool)
    star = np.linspace(0, 1, 100)
    found = match_differences(pair, star, every, other, every, 60, 0.7)
    assert (found.specific, found.other) == (60, 40) and found.differences == 100
    assert not found.specific_matched + found.other_matched + found.differences_matched


def test_with_fewer_features_than_asked_all_are_the_most_specific() -> None:
    """A feature without an NRN* is no match, nor is a dead one."""
    pair = crosscoder([[[0.0, 1]] * 3, [[1.0, 1]] * 3], SCALES)
    star, alive = np.array([np.nan, 0.9, 0.9]), np.array([True, True, False])
    other = crosscoder([[[1.0, 0]]], SCALES[:1])
    found = match_differences(pair, star, alive, other, np.array([True]), 50, 0.7)
    assert found == Matches(1, 1, 0, 0, 1, 1, 1)
