"""One table of curves, whichever engine ran."""

import pytest

from crosslens.io.errors import InputError
from crosslens.posttraining.grpo.curves import TRL, VERL, trl_curves, verl_curves

COLUMNS = [
    *("step", "reward", "response_length", "clip_fraction", "entropy", "grad_norm", "seconds"),
]


def test_verls_log_becomes_curves() -> None:
    lines = [
        {"step": step, "data": {name: 10.0 * step + i for i, name in enumerate(VERL.values())}}
        for step in (1, 2)
    ]
    table = verl_curves(lines)
    assert list(table.columns) == COLUMNS
    assert table.to_numpy().tolist() == [[1, *range(10, 16)], [2, *range(20, 26)]]


def test_trls_log_becomes_the_same_table() -> None:
    """It counts updates, two a step of ours, and ends with a summary."""
    history = [
        {"step": 2 * step, "loss": 0.1} | {k: 10.0 * step + i for i, k in enumerate(TRL.values())}
        for step in (1, 2)
    ]
    table = trl_curves([*history, {"step": 4, "train_runtime": 3.0}])
    assert list(table.columns) == COLUMNS
    assert table.to_numpy().tolist() == [[1, *range(10, 16)], [2, *range(20, 26)]]


def test_a_curve_that_the_engine_does_not_log() -> None:
    line = {"step": 2} | dict.fromkeys(TRL.values(), 1.0)
    del line["entropy"]
    with pytest.raises(InputError, match="the engine did not log entropy"):
        trl_curves([line])
