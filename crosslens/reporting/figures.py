"""Draw the figures from results on disk: one function for each drawing of the list."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from crosslens.io.records import read_json
from crosslens.reporting.plotting import dynamics, features, interventions, specificity


class FigureData(NamedTuple):
    """The data that a figure is drawn from."""

    sources: dict[str, list[Path]]  # by family, the first seed first
    labels: dict[str, str]  # by family
    tasks: list[str]
    top: int  # features in a top list
    paradigm: str  # of a figure that shows one, else empty
    checkpoints: int  # of that paradigm

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return each family's table, for drawings with one file per family."""
        return {family: pd.read_csv(path) for family, (path,) in self.sources.items()}


def draw(drawing: str, data: FigureData) -> tuple[Figure, pd.DataFrame]:
    """Return a figure and its source data; `drawing` is a key of figure_list.DRAWINGS."""
    return DRAW[drawing](data)


def draw_nrn(data: FigureData) -> tuple[Figure, pd.DataFrame]:
    """Draw Figures 1 and 6: distributions of NRN, SFT and RL against base."""
    counts = pd.concat(
        specificity.nrn_counts(table, family) for family, table in data.tables().items()
    )
    return specificity.draw_nrn(counts, data.labels), counts


def draw_overlap(data: FigureData) -> tuple[Figure, pd.DataFrame]:
    """Draw Figures 2 and 7: overlap of the top features between checkpoints."""
    table = pd.concat(part.assign(family=family) for family, part in data.tables().items())
    return dynamics.draw_overlap(table, data.labels, data.top), table


def draw_mas(data: FigureData) -> tuple[Figure, pd.DataFrame]:
    """Draw Figures 3 and 5: MAS over base, SFT and RL, of the first trio of one family."""
    family, table = next(iter(data.tables().items()))
    counts = specificity.mas_counts(table, family)
    return specificity.draw_mas(counts, data.labels), counts


def draw_feature_overlap(data: FigureData) -> tuple[Figure, pd.DataFrame]:
    """Draw Figure 4: overlap of the tasks' generalization features, and its null."""
    selected = {family: list(map(read_json, paths)) for family, paths in data.sources.items()}
    table = pd.concat(
        features.overlap_rows(sets, family, replicate)
        for family, seeds in selected.items()
        for replicate, sets in enumerate(seeds)
    )
    common = {family: len(seeds[0]["intersection"]) for family, seeds in selected.items()}
    return features.draw_feature_overlap(table, data.tasks, data.labels, common), table


def draw_rank_shifts(data: FigureData) -> tuple[Figure, pd.DataFrame]:
    """Draw Figures 8 to 13: rank shifts between adjacent checkpoints of one family and paradigm."""
    family, table = next(iter(data.tables().items()))
    table = table[table["paradigm"] == data.paradigm]
    figure = dynamics.draw_rank_shifts(
        table, data.labels[family], data.paradigm, data.top, data.checkpoints
    )
    return figure, table


def draw_controls(data: FigureData) -> tuple[Figure, pd.DataFrame]:
    """Draw the net change by the selected features, controls and other edits of the same size."""
    tables_by_family = data.tables().items()
    table = pd.concat(
        interventions.control_rows(effects, family) for family, effects in tables_by_family
    )
    return interventions.draw_controls(table, data.labels), table


def draw_dose_curves(data: FigureData) -> tuple[Figure, pd.DataFrame]:
    """Draw net change, directedness and margin by dose, with matched controls."""
    tables_by_family = data.tables().items()
    table = pd.concat(
        interventions.dose_rows(compared, family) for family, compared in tables_by_family
    )
    return interventions.draw_dose_curves(table, data.labels), table


DRAW: dict[str, Callable[[FigureData], tuple[Figure, pd.DataFrame]]] = {
    function.__name__: function
    for function in (
        *(draw_nrn, draw_overlap, draw_mas, draw_feature_overlap, draw_rank_shifts),
        *(draw_controls, draw_dose_curves),
    )
}
