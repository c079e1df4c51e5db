"""Intervals by worked numbers."""

import pytest

from crosslens.statistics import accuracy, change, clustered, standard_error, wilson


def test_wilson() -> None:
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    with pytest.raises(ValueError, match="trial"):
        wilson(0, 0)


def test_clustered_interval_of_item_means() -> None:
    low, high = clustered([0.0, 1.0, 0.0, 1.0])  # sd 0.577, se 0.289
    assert (low, high) == (0.0, 1.0)
    low, high = clustered([0.4, 0.6])  # sd 0.1414, se 0.1
    assert (low, high) == pytest.approx((0.5 - 0.196, 0.5 + 0.196), abs=1e-3)


def test_standard_error() -> None:
    assert standard_error([1.0, 3.0]) == 1.0
    assert standard_error([1.0]) == 0.0


def test_every_repetition_is_kept_and_averaged() -> None:
    rows = [
        {"doc_id": d, "repetition": i, "correct": c}
        for d, outcomes in enumerate([[1, 0, 1], [0, 0, 1]])
        for i, c in enumerate(outcomes)
    ]
    found = accuracy(rows)
    assert found["per_repetition"] == [0.5, 0.0, 1.0]
    assert found["accuracy"] == pytest.approx(0.5)
    assert found["stderr"] == pytest.approx(0.5 / 3**0.5)
    assert (found["n"], found["repeats"]) == (2, 3)


def test_change_in_points() -> None:
    row = change(right=6, count=10, before=1)
    assert row["change"] == pytest.approx(-40)
    assert row["ci_low"] < -40 < row["ci_high"] < 0
    assert change(right=3, count=10, before=0)["change"] == pytest.approx(30)
