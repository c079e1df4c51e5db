"""What a card says of the edits of its feature's sets: which sets, on which questions, by what."""

from typing import Any

import numpy as np
import pandas as pd

from crosslens.analysis.controls import PRIMARY
from crosslens.reporting.feature_edits import edits_of_features

DOSES = {"base": "clamp 1", "rl": "multiply 0"}
SELECTION = {
    "intersection": [7],
    "majority": [2, 7],
    "protocol": {
        "all": {PRIMARY: [1], "majority": [1], "contrast": []},
        "A": {PRIMARY: [2], "majority": [2], "contrast": []},
        "B": {PRIMARY: [3], "majority": [3], "contrast": []},
    },
}


PAPER = {"design": "paper", "features": "intersection", "dose": "set 0"}


def row(**changes: Any) -> dict[str, Any]:
    """Return a row of comparisons.csv: RL's answers lose 4 points, with controls one point."""
    names = {"target": "rl", "design": "protocol", "features": PRIMARY, "dose": "multiply 0"}
    numbers = {"value": -4.0, "control_mean": -1.0, "excess": -3.0, "low": -5.0, "high": -1.0}
    which = {"against": "matched", "questions": "tasks", "measure": "net", "seeds": 3}
    return names | which | numbers | changes


def edits(*rows: dict[str, Any]) -> dict[int, list[dict[str, Any]]]:
    return edits_of_features(pd.DataFrame(rows), SELECTION, DOSES)


def test_a_feature_has_the_edits_of_its_sets() -> None:
    found = edits(
        row(),
        row(questions="held_out", value=-2.0),
        row(**PAPER, against="random_alive", value=0.5, low=np.nan),
    )
    assert set(found) == {1, 2, 3, 7}
    # On the tasks, the protocol edits what was selected on the other half; elsewhere, on all.
    assert found[2] == found[3]
    assert found[2] == [
        {
            "edited": "RL",
            "dose": "multiply 0",
            "set": "protocol, selected in all tasks or most consistent over tasks",
            "questions": "on the tasks",
            "seeds": 3,
            **{"value": -4.0, "control_mean": -1.0, "excess": -3.0, "low": -5.0, "high": -1.0},
        }
    ]
    assert [(e["questions"], e["value"]) for e in found[1]] == [("on held-out tasks", -2.0)]
    assert [(e["set"], e["value"]) for e in found[7]] == [("paper, selected in all tasks", 0.5)]
    assert np.isnan(found[7][0]["low"])


def test_only_net_effects_at_the_primary_dose_against_controls() -> None:
    assert not edits(
        row(measure="margin"),
        row(dose="multiply 0.5"),  # of the dose curve
        row(against="next_best"),
        row(**PAPER, against="random_active"),
        row(design="leave_out"),
        row(design="everywhere", features="whole state", against="patch"),
        row(target="base"),  # at RL's dose
    )
    assert set(edits(row(target="base", dose="clamp 1"))) == {2, 3}


def test_a_study_without_any_comparison() -> None:
    assert edits_of_features(pd.DataFrame([row()])[:0], SELECTION, {}) == {}
