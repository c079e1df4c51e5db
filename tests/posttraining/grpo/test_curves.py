"""Both backends give the same table of curves."""

import pytest

from crosslens.io.errors import InputError
from crosslens.posttraining.grpo.curves import TRL_COLUMNS, VERL_COLUMNS, trl_curves, verl_curves

COLUMNS = [
    *("step", "reward", "response_length", "clip_fraction", "entropy", "grad_norm", "seconds"),
]


def test_curves_from_the_log_of_verl() -> None:
    lines = [
        {
            "step": step,
            "data": {name: 10.0 * step + i for i, name in enumerate(VERL_COLUMNS.values())},
        }
        for step in (1, 2)
    ]
    table = verl_curves(lines)
    assert list(table.columns) == COLUMNS
    assert table.to_numpy().tolist() == [[1, *range(10, 16)], [2, *range(20, 26)]]


def test_curves_from_the_log_of_trl() -> None:
    """TRL counts updates, two per batch of rollouts, and ends with a summary."""
    history = [
        {"step": 2 * step, "loss": 0.1}
        | {k: 10.0 * step + i for i, k in enumerate(TRL_COLUMNS.values())}
        for step in (1, 2)
    ]
    table = trl_curves([*history, {"step": 4, "train_runtime": 3.0}])
    assert list(table.columns) == COLUMNS
    assert table.to_numpy().tolist() == [[1, *range(10, 16)], [2, *range(20, 26)]]


def test_missing_curve_is_an_error() -> None:
    line = {"step": 2} | dict.fromkeys(TRL_COLUMNS.values(), 1.0)
    del line["entropy"]
    with pytest.raises(InputError, match="grpo.engine: the backend's log has no entropy"):
        trl_curves([line])
