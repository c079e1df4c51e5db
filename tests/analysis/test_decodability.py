"""Decodability: worked strengths, and a regression written out."""

import numpy as np
import pytest
import torch

from crosslens.analysis.decodability import DecodabilitySums
from crosslens.crosscoder.heldout import Batch, Entries
from crosslens.crosscoder.model import Crosscoder


def r_squared(x, f, sequences, parts=2):
    sums = DecodabilitySums(Crosscoder(x.shape[1], x.shape[2], f.shape[1]))
    for rows in torch.arange(len(x)).tensor_split(parts):
        code = f[rows]
        sums.add(Batch(x[rows], code, Entries.of(code), x[rows], sequences[rows]))
    return sums.r_squared()


@pytest.mark.parametrize(("strength", "expected"), [(0.0, 0.0), (0.25, 0.69), (1.0, 0.97)])
def test_a_concept_is_decoded_as_far_as_it_is_there(strength, expected):
    """A concept that fires on 18.5% of the rows, at some strength in base and whole in RL, with
    noise of 0.1 a dimension: R^2 is strength^2 var f over that plus the noise's."""
    generator = torch.Generator().manual_seed(0)
    f = (torch.rand(20000, 1, generator=generator) < 0.185) * (
        1 + torch.rand(20000, 1, generator=generator)
    )
    direction = torch.nn.functional.normalize(torch.ones(6), dim=0)
    x = torch.stack([strength * f * direction, f * direction], dim=1)
    x += 0.1 * torch.randn(x.shape, generator=generator)
    variance = f.var().item()
    found = r_squared(x, f, torch.arange(20000)).squeeze(1)
    predicted = strength**2 * variance / (strength**2 * variance + 0.01)
    assert found.tolist() == pytest.approx([predicted, variance / (variance + 0.01)], abs=0.01)
    assert found[0].item() == pytest.approx(expected, abs=0.015)


def test_it_is_a_regression_on_one_half_scored_on_the_other():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(400, 2, 5, generator=generator) + 3
    f = torch.relu(x.sum(dim=(1, 2))[:, None] - 29 + torch.randn(400, 3, generator=generator))
    sequences = torch.randint(0, 9, (400,), generator=generator)
    found = r_squared(x, f, sequences, parts=3)
    for i in range(2):
        errors, squares = np.zeros(3), np.zeros(3)
        for fit in (0, 1):
            here, there = (sequences % 2 == fit).numpy(), (sequences % 2 != fit).numpy()
            design = np.column_stack([x[:, i].numpy(), np.ones(400)])
            W = np.linalg.lstsq(design[here], f.numpy()[here])[0]
            errors += ((f.numpy() - design @ W)[there] ** 2).sum(axis=0)
            squares += ((f.numpy() - f.numpy()[there].mean(axis=0))[there] ** 2).sum(axis=0)
        np.testing.assert_allclose(found[i].numpy(), 1 - errors / squares, atol=1e-3)


def test_a_feature_that_never_fires_or_rows_of_one_half_alone_say_nothing():
    x, f = torch.randn(10, 2, 3), torch.rand(10, 2)
    f[:, 1] = 0
    assert r_squared(x, f, torch.arange(10))[:, 1].isnan().all()
    assert r_squared(x, f, torch.zeros(10, dtype=torch.int64)).isnan().all()
