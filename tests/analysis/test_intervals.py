"""Intervals by worked numbers."""

import pytest
from lm_eval.api.metrics import mean_stderr

from crosslens.analysis.intervals import (
    accuracy,
    accuracy_change,
    clustered_interval,
    standard_error,
    wilson,
)


def test_wilson() -> None:
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert (wilson(0, 33)[0], wilson(33, 33)[1]) == (0.0, 1.0)
    with pytest.raises(ValueError, match="trial"):
        wilson(0, 0)


def test_clustered_interval_of_item_means() -> None:
    # sd 0.577, se 0.289: as much as 0.25 / 0.0833 = 3 independent trials say
    assert clustered_interval([0.0, 1.0, 0.0, 1.0]) == pytest.approx(wilson(1.5, 3))
    # sd 0.1414, se 0.1: as much as 25 trials, but no more than the items there are
    assert clustered_interval([0.4, 0.6]) == pytest.approx(wilson(1, 2))


def test_one_success_does_not_make_an_interval_narrower() -> None:
    none, one = clustered_interval([0.0] * 60), clustered_interval([0.1] + [0.0] * 59)
    assert one[1] - one[0] > none[1] - none[0]


def test_items_that_all_agree_still_have_an_interval() -> None:
    assert clustered_interval([0.0] * 60) == wilson(0, 60)
    assert clustered_interval([1.0] * 60) == wilson(60, 60)


def test_standard_error() -> None:
    assert standard_error([1.0, 3.0]) == 1.0
    assert standard_error([1.0]) == 0.0


def outcomes(*questions: list[int]) -> list[dict]:
    """Rows of questions, each with the outcomes of its repetitions."""
    return [
        {"doc_id": d, "repetition": i, "correct": c}
        for d, answers in enumerate(questions)
        for i, c in enumerate(answers)
    ]


def test_every_repetition_is_kept_and_averaged() -> None:
    found = accuracy(outcomes([1, 0, 1], [0, 0, 1]))
    assert found["per_repetition"] == [0.5, 0.0, 1.0]
    assert found["accuracy"] == pytest.approx(0.5)
    assert (found["n"], found["repeats"]) == (2, 3)


def test_the_standard_error_is_over_questions() -> None:
    # means 1, 1/2, 0, 1/2: sd sqrt(1/6); all repetitions agree on the accuracy
    found = accuracy(outcomes([1, 1], [1, 0], [0, 0], [0, 1]))
    assert found["per_repetition"] == [0.5, 0.5]
    assert found["stderr"] == pytest.approx((1 / 6) ** 0.5 / 4**0.5)
    assert found["ci95"] == pytest.approx(clustered_interval([1.0, 0.5, 0.0, 0.5]))
    # the same questions answered alike every time: repetitions say nothing more
    assert (
        accuracy(outcomes([1] * 10, [0] * 10))["stderr"] == accuracy(outcomes([1], [0]))["stderr"]
    )


def test_the_standard_error_of_one_repetition_is_the_harness_one() -> None:
    found = accuracy(outcomes([1], [0], [1], [1]))
    assert found["stderr"] == pytest.approx(mean_stderr([1, 0, 1, 1]))
    assert found["stderr"] == pytest.approx((0.75 * 0.25 / 3) ** 0.5)
    assert found["ci95"] == pytest.approx(wilson(3, 4))


def test_change_in_points() -> None:
    row = accuracy_change(before=10, after=6, count=10)
    assert row["change"] == pytest.approx(-40)
    assert row["ci_low"] < -40 < row["ci_high"] < 0
    assert (row["accuracy_before"], row["accuracy_after"], row["n_samples"]) == (1.0, 0.6, 10)
    assert accuracy_change(before=0, after=3, count=10)["change"] == pytest.approx(30)
