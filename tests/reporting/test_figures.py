"""Every figure of the list can be drawn from the results that it names."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from helpers_effects import effect_row

from crosslens.analysis.controls import PRIMARY
from crosslens.config.figure_list import DRAWINGS, FIGURES
from crosslens.io.records import write_csv, write_json
from crosslens.reporting.figures import DRAW, FigureData, draw

LABELS = {"a": "A", "b": "B"}
TRIOS = ("trio-r0", "trio-r1")


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the results that figures are drawn from, of two families."""
    root = tmp_path_factory.mktemp("results")
    one = {"crosscoder": "sft-5", "replicate": 0, "feature": 0, "alive": 1}
    nrn = [
        one | {"crosscoder": name, "nrn": 0.4, "nrn_folded": 0.4, "nrn_star": 0.4}
        for name in ("sft-5", "rl-5")
    ]
    trio = one | {"crosscoder": "trio"}
    shares = {"mas_base": 0.2, "mas_sft": 0.3, "mas_rl": 0.5}
    shares |= {f"{score}_star": share for score, share in shares.items()}
    mas = [trio | shares | {"replicate": r} for r in (0, 1)]
    overlap = [
        {"paradigm": p, "a": 5, "b": 5, "kind": kind, "overlap": 7}
        for p in ("sft", "rl")
        for kind in ("index", "matched")
    ]
    shift = {"feature": 3, "from": 1, "to": 2, "shift": 4, "kind": "pairs"}
    shifts = [{"paradigm": p} | shift for p in ("sft", "rl")]
    pair = {"a": "sciq", "b": "piqa", "jaccard": 0.5, "share": 1.0, "chance": 0.1}
    features = {
        "tasks": {"sciq": {"selected": [1, 2]}, "piqa": {"selected": [2]}},
        "overlap": [pair],
        "cells": {"won": {"sizes": {"sciq": 2, "piqa": 1}, "overlap": [pair]}},
        "intersection": [2],
    }
    named = {"target": "base", "design": "protocol", "dose": "clamp 1", "task": "tasks"}
    named |= {"flips": 0.1, "directedness": 0.5, "margin": 0.1}
    effects = [effect_row(PRIMARY, "selected", 0, 0.0, **named)]
    compared = {
        "target": "base", "design": "protocol", "features": PRIMARY, "dose": "clamp 1",
        "against": "matched", "questions": "tasks", "measure": "net", "value": 1.0,
        "control_mean": 0.0, "control_low": -1.0, "control_high": 1.0,
    }  # fmt: skip
    tables = {"metrics": {"nrn": nrn, "mas": mas, "overlap": overlap, "rank-shifts": shifts}}
    tables["interventions"] = {"effects": effects, "comparisons": [compared]}
    for family in LABELS:
        for folder, found in tables.items():
            for name, rows in found.items():
                path = root / folder / family / f"{name}.csv"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_csv(path, pd.DataFrame(rows))
        for trio in TRIOS:
            write_json(root / "generalization" / family / trio / "features.json", features)
    return root


def test_the_list_names_the_drawings_that_exist() -> None:
    assert set(DRAW) == set(DRAWINGS) == {figure.drawing for figure in FIGURES.values()}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_comes_with_its_source_data(name: str, results: Path) -> None:
    figure = FIGURES[name]
    families = list(LABELS)[: len(figure.families or LABELS)]
    source = DRAWINGS[figure.drawing].source
    sources = {
        family: list(dict.fromkeys(results / source.format(family=family, trio=t) for t in TRIOS))
        for family in families
    }
    data = FigureData(sources, LABELS, ["sciq", "piqa"], 50, figure.paradigm or "", 5)
    drawn, table = draw(figure.drawing, data)
    assert len(table) > 0 and drawn.axes
    if "family" in table:
        assert list(dict.fromkeys(table["family"])) == families
    if figure.paradigm:
        assert set(table["paradigm"]) == {figure.paradigm}
    if "{trio}" in source:
        assert set(table["replicate"]) == {0, 1}
    if "mas" in source:
        assert table["all"].sum() == 3, "the first trio only: one feature in each model"


def test_drawing_and_tables_do_not_wait_for_torch() -> None:
    """Its import would double the time of 15 jobs of the mini study."""
    code = "import sys, draw_figure, tabulate_accuracy, tabulate_interventions; "
    code += "print('torch' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    path = {"PYTHONPATH": f"{root}:{root / 'scripts'}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr
