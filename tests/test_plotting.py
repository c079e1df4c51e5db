"""Figures draw what they are given, empty or not, and write the same bytes each time."""

import numpy as np
import pandas as pd
import pytest

from crosslens.plotting.curves import draw_crosscoders, draw_grpo, draw_sft
from crosslens.plotting.dynamics import draw_overlap, draw_rank_shifts, square
from crosslens.plotting.features import draw_feature_overlap, overlap_rows
from crosslens.plotting.specificity import draw_mas, draw_nrn, mas_counts, nrn_counts
from crosslens.plotting.style import save
from crosslens.plotting.tables import draw_table

LABELS = {"tiny": "Tiny"}


def nrn(values: list[float], alive: list[int]) -> pd.DataFrame:
    part = pd.DataFrame(
        {"feature": range(len(values)), "nrn": values, "nrn_folded": values, "alive": alive}
    )
    return pd.concat(
        part.assign(crosscoder=f"{p}-5", replica=r) for p in ("sft", "rl") for r in (0, 1)
    )


def outputs(tmp_path) -> dict:
    return {kind: tmp_path / f"figure.{kind}" for kind in ("pdf", "png", "csv")}


def test_histograms_count_alive_and_all_features() -> None:
    counts = nrn_counts(nrn([0.005, 0.5, 0.51, 0.99, np.nan], [1, 1, 0, 1, 1]), "tiny")
    sft = counts[counts["paradigm"] == "sft"]
    assert sft["alive"].sum() == 3 and sft["all"].sum() == 4
    assert sft["alive"].iloc[0] == 1 and sft["alive"].iloc[-1] == 1


def test_a_figure_is_pdf_png_and_csv_and_repeats_byte_for_byte(tmp_path) -> None:
    counts = nrn_counts(nrn([0.1, 0.5, 0.9], [1, 1, 1]), "tiny")
    written = []
    for _ in range(2):
        files = outputs(tmp_path)
        save(draw_nrn(counts, LABELS), counts, files)
        written.append({kind: path.read_bytes() for kind, path in files.items()})
    assert written[0] == written[1]
    assert written[0]["pdf"].startswith(b"%PDF") and written[0]["png"].startswith(b"\x89PNG")


def test_no_alive_feature_is_drawn_all_the_same(tmp_path) -> None:
    counts = nrn_counts(nrn([0.5], [0]), "tiny")
    save(draw_nrn(counts, LABELS), counts, outputs(tmp_path))


def test_mas(tmp_path) -> None:
    table = pd.DataFrame({"mas_base": [0.2], "mas_sft": [0.5], "mas_rl": [0.3], "alive": [1]})
    counts = mas_counts(table, "tiny")
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
    rows += [("tiny", "sft", 5, 5, "replica_index", 2)]
    return pd.DataFrame(rows, columns=["family", "paradigm", "a", "b", "kind", "overlap"])


def test_overlap_is_a_symmetric_matrix(tmp_path) -> None:
    table = overlap()
    part = table[(table["paradigm"] == "sft") & (table["kind"] == "index")]
    matrix = square(part).to_numpy()
    assert (matrix == matrix.T).all() and matrix[0, 0] == 50 and matrix[0, 4] == 7
    save(draw_overlap(table, LABELS, 50), table, outputs(tmp_path))


@pytest.mark.parametrize("rows", [[(1, 2, 7, 1.0, 3.0, -2.0), (1, 2, 9, 2.0, np.nan, np.nan)], []])
def test_rank_shifts(tmp_path, rows) -> None:
    columns = ["from", "to", "feature", "rank_from", "rank_to", "shift"]
    table = pd.DataFrame(rows, columns=columns)
    save(draw_rank_shifts(table, "Tiny", "sft", 50, 5), table, outputs(tmp_path))


@pytest.mark.parametrize("selected", [{"a": [1, 2], "b": [2]}, {"a": [], "b": []}])
def test_overlap_of_features(tmp_path, selected) -> None:
    found = {
        "tasks": {task: {"selected": features} for task, features in selected.items()},
        "overlap": [{"a": "a", "b": "b", "jaccard": 0.5, "share": 1.0}] if selected["a"] else [],
    }
    table = overlap_rows(found, "tiny")
    save(draw_feature_overlap(table, ["a", "b"], LABELS, {"tiny": 1}), table, outputs(tmp_path))


def test_curves(tmp_path) -> None:
    steps = pd.DataFrame({"family": "tiny", "step": [1, 2]})
    sft = steps.assign(loss=[2.0, 1.0])
    save(draw_sft(sft, LABELS), sft, outputs(tmp_path))
    grpo = steps.assign(reward=0.1, response_length=5, clip_fraction=0.0, entropy=1.0)
    save(draw_grpo(grpo, LABELS), grpo, outputs(tmp_path))
    coders = steps.assign(
        crosscoder="trio", replica=0, reconstruction=[2.0, 1.0], l0=9, dead_share=0.1
    )
    save(draw_crosscoders(coders, LABELS), coders, outputs(tmp_path))


def test_table(tmp_path) -> None:
    cells = pd.DataFrame({"Model": ["A", "B"], "sciq": ["1.0", "2.0"]})
    save(draw_table(cells, "Table", [1]), cells, outputs(tmp_path))
