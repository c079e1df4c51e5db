"""The rows of the tables, by worked numbers, and what is written where there is nothing."""

import pandas as pd
import pytest

from crosslens.results import (
    accuracy_cells,
    accuracy_rows,
    intervention_cells,
    intervention_rows,
)

LABELS = {"tiny": "Qwen3-4B"}
PAPER = {"table1": {"Qwen3-4B": {"base": [26.0], "sft-5": [68.4], "rl-5": [77.0]}}}


def found(value: float) -> dict:
    return {"math500": {"accuracy": value, "ci95": [value - 0.1, value + 0.1], "n": 10}}


def change(kind: str, index: int, value: float, features: int = 2) -> dict:
    return {
        "kind": kind,
        "index": index,
        "task": "sciq",
        "size": features,
        "n_features": features,
        "n_samples": 20,
        "change": value,
        "ci_low": value - 5,
        "ci_high": value + 5,
    }


def test_table_1_has_the_difference_of_rl_and_sft_and_the_papers_numbers() -> None:
    results = {("tiny", v): found(a) for v, a in [("base", 0.3), ("sft-5", 0.5), ("rl-5", 0.8)]}
    rows = accuracy_rows(results, ["math500"], LABELS, PAPER).set_index("model")
    assert rows.loc["RL", "accuracy"] == pytest.approx(80)
    assert rows.loc["RL", "paper"] == 77.0
    assert rows.loc["RL - SFT", "accuracy"] == pytest.approx(30)
    assert rows.loc["RL - SFT", "paper"] == pytest.approx(8.6)
    cells, rules = accuracy_cells(rows.reset_index(), ["math500"])
    assert cells["math500"].tolist() == [
        "30.0 [20, 40]",
        "50.0 [40, 60]",
        "80.0 [70, 90]",
        "30.0",
    ]
    assert rules == []


def test_controls_are_a_mean_with_their_range() -> None:
    table = pd.DataFrame(
        [change("intersection", 0, -40.0)] + [change("random_alive", i, -i) for i in range(5)]
    )
    rows = intervention_rows({"tiny": table}, ["sciq"], LABELS, {"Qwen3-4B": [-14.0]})
    rows = rows.set_index(["kind", "edited"])
    main, control = (rows.loc["intersection", which] for which in ("set", "random_alive"))
    assert (main["change"], main["low"], main["high"], main["paper"]) == (-40, -45, -35, -14)
    assert (control["change"], control["low"], control["high"]) == (-2, -4, 0)
    assert control["sets"] == 5


def test_an_empty_set_is_a_dash_with_its_reason() -> None:
    table = pd.DataFrame([change("intersection", 0, 0.0, features=0)])
    rows = intervention_rows({"tiny": table}, ["sciq"], LABELS, {})
    cells, _ = intervention_cells(rows, ["sciq"])
    assert cells["sciq"].tolist() == ["– (no feature)", "–", "–"], "and no row for its controls"


def test_only_random_sets_of_the_same_size_stand_beside_a_set() -> None:
    kinds = [change("intersection", 0, -9.0), change("per_task", 0, -8.0, features=3)]
    draws = [change("random_alive", i, -i, size) for size in (2, 3) for i in range(size)]
    rows = intervention_rows({"tiny": pd.DataFrame(kinds + draws)}, ["sciq"], LABELS, {})
    rows = rows.set_index(["kind", "edited"])
    assert rows.loc[("intersection", "random_alive"), "sets"] == 2
    assert rows.loc[("per_task", "random_alive"), "low"] == -2
