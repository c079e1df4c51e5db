"""Figures draw what they are given, empty or not, and write the same bytes each time."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from helpers_effects import effect_row

from crosslens.analysis.controls import PRIMARY
from crosslens.reporting.plotting.curves import draw_crosscoders, draw_grpo, draw_sft
from crosslens.reporting.plotting.dynamics import draw_overlap, draw_rank_shifts, square
from crosslens.reporting.plotting.features import draw_feature_overlap, overlap_rows
from crosslens.reporting.plotting.interventions import (
    control_rows,
    dose_rows,
    draw_controls,
    draw_dose_curves,
)
from crosslens.reporting.plotting.specificity import draw_mas, draw_nrn, mas_counts, nrn_counts
from crosslens.reporting.plotting.style import save
from crosslens.reporting.plotting.tables import draw_table

LABELS = {"tiny": "Tiny"}


def nrn(values: list[float], alive: list[int]) -> pd.DataFrame:
    part = pd.DataFrame(
        {"feature": range(len(values)), "nrn": values, "nrn_folded": values, "alive": alive}
    ).assign(nrn_star=values)
    return pd.concat(
        part.assign(crosscoder=f"{p}-5", replicate=r) for p in ("sft", "rl") for r in (0, 1)
    )


def words(axes: plt.Axes) -> list[str]:
    """Return the texts inside a plot, in the order drawn."""
    return [text.get_text() for text in axes.texts]


def names(labels: list[plt.Text]) -> list[str]:
    return [label.get_text() for label in labels]


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


def outputs(tmp_path) -> dict:
    return {kind: tmp_path / f"figure.{kind}" for kind in ("pdf", "png", "csv")}


def test_histograms_count_alive_and_all_features() -> None:
    counts = nrn_counts(nrn([0.005, 0.5, 0.51, 0.99, np.nan], [1, 1, 0, 1, 1]), "tiny")
    sft = counts[counts["paradigm"] == "sft"]
    assert sft["alive"].sum() == 3 and sft["all"].sum() == 4
    assert sft["alive"].iloc[0] == 1 and sft["alive"].iloc[-1] == 1


def test_a_tail_is_held_against_that_of_swapped_rows() -> None:
    """Five features above 0.8, one on swapped rows: 2 in 5 may be false."""
    null = nrn([0.5, 0.9], [1, 1]).query("replicate == 0")
    null["crosscoder"] += "-swapped"
    tail = nrn([0.81, 0.85, 0.9, 0.95, 0.99, 0.5, 0.9], [1] * 6 + [0])
    counts = nrn_counts(pd.concat([tail, null]), "tiny")
    assert set(counts["beyond"]) == {5} and set(counts["q"]) == {0.4}
    assert counts["swapped"].sum() == 2 * 2
    for axes in draw_nrn(counts, LABELS).axes:
        assert axes.get_xlabel().endswith("5 above 0.8, false fraction 0.40")
    counts = nrn_counts(tail, "tiny")
    assert counts["q"].isna().all()
    for axes in draw_nrn(counts, LABELS).axes:
        assert axes.get_xlabel().endswith("5 above 0.8")


@pytest.mark.slow
def test_a_figure_is_pdf_png_and_csv_and_repeats_byte_for_byte(tmp_path) -> None:
    counts = nrn_counts(nrn([0.1, 0.5, 0.9], [1, 1, 1]), "tiny")
    written = []
    for _ in range(2):
        files = outputs(tmp_path)
        save(draw_nrn(counts, LABELS), counts, files)
        written.append({kind: path.read_bytes() for kind, path in files.items()})
    assert written[0] == written[1]
    assert written[0]["pdf"].startswith(b"%PDF") and written[0]["png"].startswith(b"\x89PNG")


def test_no_alive_feature_is_drawn_all_the_same() -> None:
    figure = draw_nrn(nrn_counts(nrn([0.5], [0]), "tiny"), LABELS)
    for axes, name in zip(figure.axes, ("SFT", "RL"), strict=True):
        heights = {bars.get_label(): bars.get_data().values.sum() for bars in axes.patches}
        assert heights == {"all features": 1, "alive features": 0, "alive, NRN*": 0}
        assert axes.get_title() == f"Tiny: {name} against base"
        assert axes.get_ylim()[0] < 1, "one feature is seen on the logarithmic axis"


def test_mas(tmp_path) -> None:
    table = pd.DataFrame({"mas_base": [0.2], "mas_sft": [0.5], "mas_rl": [0.3], "alive": [1]})
    table = table.join(table.filter(like="mas_").add_suffix("_star"))
    counts = mas_counts(table.assign(crosscoder="trio", replicate=0), "tiny")
    assert counts.groupby("model")["alive"].sum().to_dict() == {"base": 1, "rl": 1, "sft": 1}
    save(draw_mas(counts, LABELS), counts, outputs(tmp_path))


def overlap() -> pd.DataFrame:
    rows = [
        ("tiny", p, a, b, kind, 50 if a == b else 7)
        for p in ("sft", "rl")
        for kind in ("index", "matched")
        for a in range(1, 6)
        for b in range(a, 6)
    ]
    rows += [("tiny", "sft", 5, 5, "replicate_index", 2)]
    return pd.DataFrame(rows, columns=["family", "paradigm", "a", "b", "kind", "overlap"])


def test_overlap_is_a_symmetric_matrix_and_says_what_another_seed_gives() -> None:
    table = overlap()
    part = table[(table["paradigm"] == "sft") & (table["kind"] == "index")]
    matrix = square(part).to_numpy()
    assert (matrix == matrix.T).all() and matrix[0, 0] == 50 and matrix[0, 4] == 7
    figure = draw_overlap(table, LABELS, 50)
    assert words(figure.axes[0]) == [str(int(value)) for value in matrix.flat]
    notes = [axes.get_xlabel() for axes in figure.axes]
    assert [note.rpartition("seed: ")[2] for note in notes] == ["2)", *["not trained)"] * 3]


SHIFTS = ["from", "to", "feature", "rank_from", "rank_to", "shift", "kind"]


def test_overlap_within_one_crosscoder_is_a_third_line() -> None:
    """It is trained for SFT only: 7 features in common of 50."""
    rows = [("tiny", "sft", a, b, "together", n) for a, b, n in ((1, 1, 50), (1, 5, 7), (5, 5, 50))]
    rows += [("tiny", "sft", 5, 5, "together_null", 20.4)]
    rows += [("tiny", "sft", 5, 5, "together_null_high", 26.0)]
    table = pd.concat([overlap(), pd.DataFrame(rows, columns=overlap().columns)])
    axes = draw_overlap(table[table["family"] == "tiny"], LABELS, 50).axes
    assert len(axes) == 6 and "in one crosscoder" in axes[4].get_title()
    assert [text.get_text() for text in axes[4].texts] == ["50", "7", "7", "50"]
    assert axes[4].get_xlabel() == "checkpoint\n(norms shuffled over models: 20, 95%: 26)"
    assert "another seed: 2)" in axes[0].get_xlabel(), "a count, also beside a mean"
    assert axes[5].texts[0].get_text() == "not trained"


def test_rank_shifts_are_cells_blank_outside_a_top_list() -> None:
    rows = [(1, 2, 9, 1.0, 3.0, -2.0), (1, 2, 7, 2.0, np.nan, np.nan), (2, 3, 7, np.nan, 4.0, 5.0)]
    shifts = pd.DataFrame([(*row, "pairs") for row in rows], columns=SHIFTS)
    figure = draw_rank_shifts(shifts, "Tiny", "sft", 50, 5)
    axes, bar = figure.axes
    cells = axes.collections[0].get_array()
    assert cells.mask.tolist() == [[False, True], [True, False]]
    assert (cells[0, 0], cells[1, 1]) == (-2, 5)
    assert axes.collections[0].get_clim() == (-50, 50), "white is no shift"
    assert names(axes.get_yticklabels()) == ["1 → 2", "2 → 3"]
    assert (axes.get_title(), axes.get_ylabel()) == ("Tiny SFT", "checkpoints")
    assert axes.get_xlabel() == "2 features in a top 50, in order of first appearance"
    assert bar.get_ylabel() == "rank shift (+: rises)"


def test_rank_shifts_within_one_crosscoder_are_a_second_panel() -> None:
    rows = [(1, 2, 9, 1.0, 3.0, -2.0, "pairs"), (1, 2, 4, 9.0, 1.0, 8.0, "together")]
    figure = draw_rank_shifts(pd.DataFrame(rows, columns=SHIFTS), "Tiny", "rl", 50, 5)
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [a.get_title() for a in panels] == ["Tiny RL", "Tiny RL, in one crosscoder"]
    assert [a.collections[0].get_array().tolist() for a in panels] == [[[-2.0]], [[8.0]]]


@pytest.mark.parametrize(
    ("checkpoints", "reason"),
    [(5, "no feature is alive"), (1, "only the last checkpoint is studied")],
)
def test_no_rank_shifts_are_explained(checkpoints: int, reason: str) -> None:
    empty = pd.DataFrame([], columns=SHIFTS)
    (axes,) = draw_rank_shifts(empty, "Tiny", "rl", 50, checkpoints).axes
    assert words(axes) == [f"no rank shifts: {reason}"] and axes.get_title() == "Tiny RL"
    assert not axes.collections


PAIR = {"a": "a", "b": "b", "jaccard": 0.5, "share": 0.25, "chance": 0.1}


def found(selected: dict[str, list[int]], overlap: list[dict], **shares: float | None) -> dict:
    return {
        "tasks": {task: {"selected": features} for task, features in selected.items()},
        "overlap": overlap,
        "cells": {
            cell: {"sizes": dict.fromkeys(selected, 2), "overlap": [PAIR | {"share": share}]}
            for cell, share in shares.items()
        },
    }


@pytest.mark.parametrize(("common", "count"), [(1, "1 feature"), (2, "2 features")])
def test_overlap_of_features_is_in_percent_with_the_sizes(common: int, count: str) -> None:
    pair = {"a": "a", "b": "b", "jaccard": 0.5, "share": 0.25}
    table = overlap_rows(found({"a": [1, 2], "b": [2], "c": []}, [pair]), "tiny")
    axes, _ = draw_feature_overlap(table, ["a", "b", "c"], LABELS, {"tiny": common}).axes
    assert words(axes) == ["100%", "25%", "–", "25%", "100%", "–", "–", "–", "–"]
    assert names(axes.get_xticklabels()) == ["a (2)", "b (1)", "c (0)"]
    assert names(axes.get_yticklabels()) == names(axes.get_xticklabels())
    assert axes.get_title() == f"Tiny: {count} in all tasks"


def test_no_feature_of_any_task_is_said() -> None:
    table = overlap_rows(found({"a": [], "b": []}, []), "tiny")
    axes, _ = draw_feature_overlap(table, ["a", "b"], LABELS, {"tiny": 0}).axes
    assert words(axes) == ["no task has selected features"] and not axes.collections
    assert axes.get_title() == "Tiny: 0 features in all tasks"


def test_the_null_of_the_overlap_has_a_point_a_seed() -> None:
    seeds = [found({"a": [1], "b": [1]}, [], won=0.8, both_right=share) for share in (0.6, None)]
    table = pd.concat(overlap_rows(seed, "tiny", r) for r, seed in enumerate(seeds))
    _, below = draw_feature_overlap(table, ["a", "b"], LABELS, {"tiny": 0}).axes
    shares = [line.get_xdata().tolist() for line in below.lines[::2]]
    assert shares[0] == [0.8, 0.8] and shares[1][0] == 0.6 and np.isnan(shares[1][1])
    assert [line.get_xdata().tolist() for line in below.lines[1::2]] == [[0.1, 0.1]] * 2
    assert names(below.get_yticklabels())[:2] == ["base incorrect, RL correct", "both correct"]


def comparison(dose: str, value: float, **changes) -> dict:
    return {
        "target": "base", "design": "protocol", "features": PRIMARY, "dose": dose,
        "against": "matched", "questions": "tasks", "measure": "net", "value": value,
        "control_mean": 0.0, "control_low": -1.0, "control_high": 1.0,
    } | changes  # fmt: skip


def test_dose_curves() -> None:
    rows = [comparison(f"multiply {x:g}", y) for x, y in ((4, 3.0), (0, 1.0), (2, 2.0))]
    rows += [comparison("multiply 9", 9.0, **{key: "other"}) for key in ("against", "design")]
    rows += [comparison("clamp 1", 5.0, measure="margin", questions="held_out")]
    table = dose_rows(pd.DataFrame(rows), "tiny")
    assert table["dose"].tolist() == [1, 0, 2, 4]
    axes = draw_dose_curves(table, LABELS).axes[0]
    _, own, controls = axes.lines
    assert own.get_xdata().tolist() == [0, 2, 4] and own.get_ydata().tolist() == [1, 2, 3]
    assert controls.get_ydata().tolist() == [0, 0, 0]
    nothing = dose_rows(pd.DataFrame(columns=list(rows[0])), "tiny")
    assert words(draw_dose_curves(nothing, LABELS).axes[0]) == ["nothing selected"]


def test_edits_beside_their_controls() -> None:
    named = {"target": "base", "design": "protocol", "dose": "clamp 1", "task": "tasks"}
    named |= {"flips": 0.1, "directedness": 0.5, "margin": 0.1}
    rows = [effect_row(PRIMARY, "selected", 0, 0.0, **named, net=4.0)]
    rows += [effect_row(PRIMARY, "matched", i, 0.0, **named, net=i) for i in range(3)]
    rows += [effect_row(PRIMARY, "matched", 0, 0.0, **{**named, "dose": "clamp 2"})]
    rows += [effect_row("whole state", "patch", 0, 0.0, **{**named, "design": "everywhere"}, net=9)]
    table = control_rows(pd.DataFrame(rows), "tiny")
    assert len(table) == 5 and set(table["dose"]) == {"clamp 1"}
    axes = draw_controls(table, LABELS).axes[0]
    drawn = {
        line.get_ydata()[0]: sorted(line.get_xdata())
        for line in axes.lines[1:]
        if len(line.get_xdata())
    }
    assert drawn == {0: [4.0], 1: [0, 1, 2], 8: [9]}
    assert words(axes) == ["won 1, lost 4", *["nothing edited"] * 6], "six more kinds of edits"
    empty = table.assign(n_features=0)
    axes = draw_controls(empty[empty["kind"] == "selected"], LABELS).axes[0]
    assert words(axes) == ["nothing edited"] * 9
    assert not any(len(line.get_xdata()) for line in axes.lines[1:]), "no effect of 0 is drawn"


STEPS = pd.DataFrame({"family": "tiny", "step": [1, 2]})


def points(axes: plt.Axes) -> list[list[float]]:
    """Return the heights of every line, in the order drawn."""
    return [line.get_ydata().tolist() for line in axes.lines]


def test_the_loss_of_sft() -> None:
    (axes,) = draw_sft(STEPS.assign(loss=[2.0, 1.0]), LABELS).axes
    assert points(axes) == [[2, 1]] * 2 and axes.lines[0].get_xdata().tolist() == [1, 2]
    long = pd.DataFrame({"family": "tiny", "step": range(30), "loss": 15 * [0.0, 3.0]})
    raw, smooth = points(draw_sft(long, LABELS).axes[0])
    assert raw == long["loss"].tolist() and smooth[1:-1] == pytest.approx([1, 2] * 14)
    assert names(axes.get_legend().get_texts()) == ["Tiny"]


def test_curves_of_grpo() -> None:
    curves = STEPS.assign(reward=0.1, response_length=5, clip_fraction=0.0, entropy=[1.0, 0.5])
    drawn = {axes.get_title(): points(axes) for axes in draw_grpo(curves, LABELS).axes}
    assert drawn == {
        "mean reward": [[0.1, 0.1]],
        "response length (tokens)": [[5, 5]],
        "fraction of clipped tokens": [[0, 0]],
        "entropy (nats)": [[1, 0.5]],
    }


def test_curves_of_crosscoders() -> None:
    measured = STEPS.assign(reconstruction=[2.0, 1.0], l0=[90, 9], dead_share=0.1, fve_base=0.5)
    trio = measured.assign(crosscoder="trio", replicate=0, **{"fve_rl-5": [0.7, 0.9]})
    early = measured.assign(crosscoder="sft-1", replicate=0)
    figure = draw_crosscoders(pd.concat([trio, early]), LABELS)
    drawn = {axes.get_title(): points(axes) for axes in figure.axes}
    assert drawn["reconstruction error"] == [[2, 1]] * 2
    assert drawn["FVE"] == [[0.5, 0.5], pytest.approx([0.6, 0.7])], "the mean over its own models"
    assert drawn["L0"] == [[90, 9]] * 2 and drawn["dead fraction"] == [[0.1, 0.1]] * 2
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear", "log", "linear"]
    assert names(figure.axes[1].get_legend().get_texts()) == ["trio"], "early ones are grey"


def test_a_title_is_not_cut_off() -> None:
    sentence = (
        "Table 5. Change in points of accuracy on critical samples of held-out tasks by amplifying"
    )
    figure = draw_table(pd.DataFrame({"Model": ["A"], "sciq": ["1.0"]}), sentence, [])
    figure.canvas.draw()
    title = figure.axes[0].texts[0].get_window_extent()
    assert title.x1 <= figure.bbox.x1


def test_table() -> None:
    cells = pd.DataFrame({"Model": ["A", "B"], "sciq": ["1.0", "2.0"]})
    (axes,) = draw_table(cells, "Table", [1]).axes
    assert words(axes) == ["Table", "Model", "A", "B", "sciq", "1.0", "2.0"]
    heights = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert heights["A"] == heights["1.0"] < heights["B"] == heights["2.0"]
    rule = axes.lines[-1].get_ydata()[0]
    assert heights["A"] < rule < heights["B"], "a rule before row 1"
