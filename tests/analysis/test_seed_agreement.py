"""Crosscoders of different seeds: what is the same up to order and scale agrees."""

import numpy as np
import pytest
import torch

from crosslens.analysis import seed_agreement
from crosslens.analysis.seed_agreement import compare_seeds


def compared(one, other, first, second):
    return compare_seeds((one, other), (first, second), match_cosine=0.7, threshold=0.8, seed=0)


def test_the_same_features_in_another_order_agree():
    W_dec = torch.randn(2, 40, 30, generator=torch.Generator().manual_seed(0))
    shares = np.linspace(0, 1, 40)
    order = np.random.default_rng(0).permutation(40)
    scale = torch.rand(40)[:, None] + 0.5
    found = compared(W_dec, (W_dec * scale)[:, order], shares, shares[order])
    assert found.mean_cosine == pytest.approx(1, abs=1e-5)
    assert (found.features, found.same, found.tail, found.tail_kept) == (40, 1.0, 8, 1.0)
    assert found.share_correlation == pytest.approx(1)


def test_unrelated_features_do_not(monkeypatch):
    generator = torch.Generator().manual_seed(1)
    one, other = torch.randn(2, 2, 60, 50, generator=generator)
    random = np.random.default_rng(0).random((2, 60))
    monkeypatch.setattr(seed_agreement, "SAMPLED", 30)
    found = compared(one, other, *random)
    assert found.features == 30 and found.same == 0 and found.mean_cosine < 0.4
    assert found.tail == (random[0] > 0.8).sum(), "the whole tail is matched"
    assert found.tail_kept < 0.6


def test_a_match_is_one_to_one():
    """Both features of the first are nearest to the same one of the second."""
    one = torch.tensor([[[1.0, 0.0], [0.9, 0.1]]])
    other = torch.tensor([[[1.0, 0.05], [0.0, 1.0]]])
    found = compared(one, other, np.array([0.5, 0.5]), np.array([0.5, 0.5]))
    assert found.features == 2 and found.same == 0.5
    assert found.tail == 0 and np.isnan(found.tail_kept)


def test_without_an_alive_feature_nothing_is_compared():
    none = torch.empty(2, 0, 3)
    assert compared(none, none, np.empty(0), np.empty(0)).features == 0
