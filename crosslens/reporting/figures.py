"""The figures of the paper from results on disk: one function for each drawing of the list."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from crosslens.io.records import read_json
from crosslens.reporting.plotting import dynamics, features, specificity


class FigureData(NamedTuple):
    """What a figure is drawn from."""

    sources: dict[str, Path]  # by family
    labels: dict[str, str]  # by family
    tasks: list[str]
    top: int  # features in a top list
    paradigm: str | None  # of a figure that shows one
    checkpoints: int  # of that paradigm


def draw(drawing: str, data: FigureData) -> tuple[Figure, pd.DataFrame]:
    """Return a figure and its source data; `drawing` is a key of figure_list.DRAWINGS."""
    return DRAW[drawing](data)


def draw_nrn(data: FigureData) -> tuple[Figure, pd.DataFrame]:
    """Figures 1 and 6: distributions of NRN, SFT and RL against base."""
    counts = pd.concat(
        specificity.nrn_counts(pd.read_csv(path), family) for family, path in data.sources.items()
    )
    return specificity.draw_nrn(counts, data.labels), counts


def draw_overlap(data: FigureData) -> tuple[Figure, pd.DataFrame]:
    """Figures 2 and 7: overlap of the top features between checkpoints."""
    tables = [pd.read_csv(path).assign(family=family) for family, path in data.sources.items()]
    table = pd.concat(tables)
    return dynamics.draw_overlap(table, data.labels, data.top), table


def draw_mas(data: FigureData) -> tuple[Figure, pd.DataFrame]:
    """Figures 3 and 5: distributions of MAS over base, SFT and RL, of one family's first trio."""
    family, path = next(iter(data.sources.items()))
    counts = specificity.mas_counts(
        pd.read_csv(path).query("crosscoder == 'trio' and replica == 0"), family
    )
    return specificity.draw_mas(counts, data.labels), counts


def draw_feature_overlap(data: FigureData) -> tuple[Figure, pd.DataFrame]:
    """Figure 4: overlap of the tasks' generalization features."""
    selected = {family: read_json(path) for family, path in data.sources.items()}
    table = pd.concat(features.overlap_rows(found, family) for family, found in selected.items())
    common = {family: len(found["intersection"]) for family, found in selected.items()}
    return features.draw_feature_overlap(table, data.tasks, data.labels, common), table


def draw_rank_shifts(data: FigureData) -> tuple[Figure, pd.DataFrame]:
    """Figures 8 to 13: rank shifts between adjacent checkpoints of one family and paradigm."""
    family, path = next(iter(data.sources.items()))
    table = pd.read_csv(path)
    table = table[table["paradigm"] == data.paradigm]
    figure = dynamics.draw_rank_shifts(
        table, data.labels[family], data.paradigm, data.top, data.checkpoints
    )
    return figure, table


DRAW: dict[str, Callable[[FigureData], tuple[Figure, pd.DataFrame]]] = {
    function.__name__: function
    for function in (draw_nrn, draw_overlap, draw_mas, draw_feature_overlap, draw_rank_shifts)
}
