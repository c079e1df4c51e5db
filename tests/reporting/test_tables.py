"""The rows of the tables, by worked numbers, and what is written where there is nothing."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from helpers_effects import effect_row

from crosslens.analysis.controls import PRIMARY
from crosslens.io.errors import InputError
from crosslens.io.records import read_json
from crosslens.reporting.tables import (
    accuracy_cells,
    accuracy_rows,
    intervention_cells,
    intervention_rows,
    of_model,
    paired,
)

ROOT = Path(__file__).resolve().parents[2]
LABELS = {"tiny": "Qwen3-4B-Base"}
GAINS = {"tiny": {"math500": (30.0, 10.0)}}
PUBLISHED = read_json(ROOT / "crosslens" / "reporting" / "templates" / "paper.json")


def found(value: float) -> dict:
    return {"math500": {"accuracy": value, "ci95": [value - 0.1, value + 0.1], "n": 10}}


def test_table_1_has_the_difference_of_rl_and_sft_and_the_papers_numbers() -> None:
    results = {("tiny", v): found(a) for v, a in [("base", 0.3), ("sft-5", 0.5), ("rl-5", 0.8)]}
    rows = accuracy_rows(results, GAINS, ["math500"], LABELS, PUBLISHED).set_index("model")
    assert rows.loc["RL", "accuracy"] == pytest.approx(80)
    assert rows.loc["RL", "paper"] == 77.0
    assert rows.loc["RL - SFT", "accuracy"] == pytest.approx(30)
    assert rows.loc["RL - SFT", "paper"] == pytest.approx(8.6)
    cells, rules = accuracy_cells(rows.reset_index(), ["math500"])
    assert cells["MATH500"].tolist() == [
        "30.0 [20, 40] (paper 26.0)",
        "50.0 [40, 60] (paper 68.4)",
        "80.0 [70, 90] (paper 77.0)",
        "+30.0 [10, 50] (paper +8.6)",
    ]
    assert rules == []


def test_the_papers_numbers_are_found_by_label_and_task() -> None:
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    labels = {family["label"] for family in config["families"].values()}
    tasks = config["evaluation"]
    known = {*tasks["tasks"], *tasks["heldout_tasks"], *tasks["math"]}
    assert labels >= PUBLISHED["intersection"].keys()
    for number in range(1, 6):
        for label, numbers in PUBLISHED[f"table{number}"].items():
            assert label in labels
            rows = numbers.values() if number == 1 else [numbers]
            assert all(known >= row.keys() for row in rows)


def test_other_tasks_in_another_order_keep_the_papers_numbers() -> None:
    tasks = ["sciq", "social_iqa", "openbookqa"]
    results = {
        ("tiny", variant): {t: found(0.5)["math500"] for t in tasks}
        for variant in ("base", "sft-5", "rl-5")
    }
    rows = accuracy_rows(results, {"tiny": dict.fromkeys(tasks, (0, 1))}, tasks, LABELS, PUBLISHED)
    theirs = rows[rows["model"] == "RL"].set_index("task")["paper"]
    assert theirs["sciq"] == 89.5 and theirs["openbookqa"] == 27.2
    assert pd.isna(theirs["social_iqa"])
    table = pd.DataFrame([effect_row("intersection", "selected", 0, -1.0, task=t) for t in tasks])
    rows = intervention_rows({"tiny": table}, tasks, LABELS, PUBLISHED["table2"])
    theirs = rows[rows["edited"] == "set"].groupby("task")["paper"].first()
    assert theirs["sciq"] == -14.0 and theirs["openbookqa"] == -46.2
    assert pd.isna(theirs["social_iqa"])


def test_the_difference_of_two_models_is_paired_by_document() -> None:
    def rows(*answers: tuple[int, int]) -> list[dict]:
        return [
            {"task": "aime24", "doc_id": i, "doc_hash": "h", "repetition": k, "correct": correct}
            for i, both in enumerate(answers)
            for k, correct in enumerate(both)
        ]

    sft, rl = rows((0, 0), (1, 1), (0, 1)), rows((1, 1), (1, 1), (1, 1))
    gain, error = paired(sft, rl)["aime24"]  # of documents: 100, 0 and 50 points
    assert gain == pytest.approx(50) and error == pytest.approx(50 / 3**0.5)
    with pytest.raises(InputError, match="different documents"):
        paired(sft[2:], rl)


def test_controls_are_a_mean_with_their_range() -> None:
    own = effect_row("intersection", "selected", 0, -40.0)
    draws = [effect_row("intersection", "random_alive", i, -i, net=i) for i in range(5)]
    table = pd.DataFrame([own, *draws])
    rows = intervention_rows({"tiny": table}, ["sciq"], LABELS, {"Qwen3-4B-Base": {"sciq": -14.0}})
    cells, _ = intervention_cells(rows, ["sciq"])
    assert cells["Features edited"].tolist()[1:] == ["    random alive features (5 sets)"]
    assert cells["SciQ"].tolist() == [
        "-40.0 [-45, -35] (paper -14.0); net -5.0",
        "-2.0 [-4, +0]; net +2.0",
    ]
    rows = rows.set_index(["kind", "edited"])
    main, control = (rows.loc["intersection", which] for which in ("set", "random_alive"))
    assert (main["change"], main["low"], main["high"], main["paper"]) == (-40, -45, -35, -14)
    assert (control["change"], control["low"], control["high"]) == (-2, -4, 0)
    assert (control["net"], control["net_low"], control["net_high"]) == (2, 0, 4)
    assert (control["sets"], control["questions"]) == (5, 60)


def test_the_protocols_sets_stand_below_at_the_primary_dose() -> None:
    named = {"design": "protocol", "dose": "multiply 0"}
    own = effect_row(PRIMARY, "selected", 0, -40.0, **named)
    other = effect_row(PRIMARY, "selected", 0, -1.0, design="protocol", dose="multiply 0.5")
    draws = [effect_row(PRIMARY, "matched", i, 0.0, net=-i, **named) for i in range(3)]
    table = pd.DataFrame([own, other, *draws, effect_row("majority", "selected", 0, -2.0, **named)])
    rows = intervention_rows({"tiny": table}, ["sciq"], LABELS, {})
    cells, _ = intervention_cells(rows, ["sciq"])
    assert cells.to_dict("list") == {
        "Features edited": [
            "Qwen3-4B-Base: selected on other questions",
            "    matched controls (3 sets)",
        ],
        "SciQ": ["net -5.0 (won 1, lost 4)", "net -1.0 [-2, +0]"],
    }


def test_rows_of_one_model_and_seed() -> None:
    rows = [effect_row("intersection", "selected", 0, 0.0, target=t, replicate=r)
            for t in ("rl", "base") for r in (0, 1)]  # fmt: skip
    assert of_model(pd.DataFrame(rows), "base").index.tolist() == [2]
    assert of_model(pd.DataFrame(rows), "rl", 1).index.tolist() == [1]


def test_nothing_is_minus_zero() -> None:
    table = pd.DataFrame(
        [
            effect_row(
                *("intersection", "selected", 0, -0.04),
                **{"critical_ci_low": -9.6, "critical_ci_high": -0.2, "net": -0.01},
            )
        ]
    )
    rows = intervention_rows({"tiny": table}, ["sciq"], LABELS, {})
    assert intervention_cells(rows, ["sciq"])[0]["SciQ"][0] == "+0.0 [-10, +0]; net +0.0"
    gains = {"tiny": {"math500": (-0.04, 0.1)}}
    results = {("tiny", v): found(0.5) for v in ("base", "sft-5", "rl-5")}
    rows = accuracy_rows(results, gains, ["math500"], LABELS, {"table1": {}})
    assert accuracy_cells(rows, ["math500"])[0]["MATH500"].tolist()[-1].startswith("+0.0 [0, 0]")


def test_an_empty_set_is_a_dash_with_its_reason() -> None:
    table = pd.DataFrame([effect_row("intersection", "selected", 0, 0.0, count=0)])
    rows = intervention_rows({"tiny": table}, ["sciq"], LABELS, {})
    cells, _ = intervention_cells(rows, ["sciq"])
    assert cells["SciQ"].tolist() == ["– (no feature)"], "no row for what was not tried"


def test_no_set_at_all_is_said() -> None:
    """As where base answers nothing wrong that RL answers right."""
    table = pd.DataFrame(columns=list(effect_row("intersection", "selected", 0, 0.0)))
    rows = intervention_rows({"tiny": table}, ["sciq"], LABELS, {})
    cells, rules = intervention_cells(rows, ["sciq"])
    assert cells.to_dict("records") == [
        {"Features edited": "no set was edited on any sample", "SciQ": "–"}
    ]
    assert rules == []


def test_only_its_own_random_sets_stand_beside_a_set() -> None:
    kinds = [effect_row("intersection", "selected", 0, -9.0)]
    kinds += [effect_row("per_task", "selected", 0, -8.0, count=3)]
    draws = [
        effect_row(features, "random_alive", i, -i, count=size)
        for features, size in (("intersection", 2), ("per_task", 3))
        for i in range(size)
    ]
    rows = intervention_rows({"tiny": pd.DataFrame(kinds + draws)}, ["sciq"], LABELS, {})
    rows = rows.set_index(["kind", "edited"])
    assert rows.loc[("intersection", "random_alive"), "sets"] == 2
    assert rows.loc[("per_task", "random_alive"), "low"] == -2
