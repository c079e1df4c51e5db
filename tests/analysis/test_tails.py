"""Tails and their nulls by worked numbers, and on draws that have no specific feature."""

import numpy as np
import pytest

from crosslens.analysis.tails import Shares, false_fraction, tail_start, tail_table

OBSERVED = np.array([0.5, 0.55, 0.62, 0.7, 0.81, 0.83, 0.9, 0.95])
NULL = np.array([0.48, 0.5, 0.52, 0.55, 0.6, 0.66, 0.7, 0.82])


def test_false_fractions_of_worked_numbers():
    """Eight features can show nothing; 58 in a tail that the null does not have can."""
    assert false_fraction(OBSERVED, NULL, 0.8) == (1 + 1) / 4
    assert false_fraction(OBSERVED, NULL, 0.85) == (1 + 0) / 2
    assert false_fraction(np.full(58, 0.9), NULL, 0.85) == pytest.approx(0.017, abs=5e-4)
    assert false_fraction(OBSERVED, NULL, 0.96) == 1.0, "an empty tail"
    assert tail_start(OBSERVED, NULL) is None


def test_a_tail_starts_where_the_null_ends():
    observed = np.array([*np.linspace(0.4, 0.6, 200), *np.linspace(0.8, 0.99, 60), np.nan])
    null = np.array([*np.linspace(0.3, 0.7, 100), 0.85, np.nan])
    threshold, excess = tail_start(observed, null)
    assert false_fraction(observed, null, threshold) <= 0.05
    assert threshold == pytest.approx(0.8), "two of the null are above 0.8, none in 40"
    assert excess == 59 - 1


def test_a_tail_start_is_rare_without_specific_features():
    """Where observed shares and the null's have one distribution, at most 5% of tails start."""
    generator = np.random.default_rng(0)
    draws = generator.beta(8, 8, (200, 2, 300))
    assert np.mean([tail_start(*pair) is not None for pair in draws]) <= 0.05


def shares(name, replicate, values, specific=()):
    array = np.array(values)
    return Shares(name, replicate, "tuned", "nrn", array, np.isin(np.arange(len(array)), specific))


def test_a_table_of_tails():
    parts = [
        shares("rl-5", 0, OBSERVED, specific=[0, 7]),
        shares("rl-5-swapped", 0, NULL),
        shares("rl-5-swapped", 1, [*NULL, 0.99]),
    ]
    table = tail_table(parts, [0.8, 0.85]).set_index(["crosscoder", "replicate", "threshold"])
    row = table.loc["rl-5", 0, 0.8]
    assert (row["alive"], row["count"], row["specific"]) == (8, 4, 1)
    assert row["null_swapped"] == 1.5 and row["q_swapped"] == 3 / 4
    assert np.isnan(row["null_noise"]) and np.isnan(row["q_noise"])
    assert table["q_swapped"].notna().sum() == 2
