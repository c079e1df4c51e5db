"""Figures 1, 3, 5 and 6: how specific features are to a model."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from crosslens.config.study_design import FINAL
from crosslens.reporting.plotting.style import COLORS, LIGHT, NAMES

BINS = np.linspace(0, 1, 51)


def count(values: pd.Series) -> np.ndarray:
    """Histogram over [0, 1]; NaN is left out."""
    return np.histogram(values.dropna(), BINS)[0]


def nrn_counts(nrn: pd.DataFrame, family: str) -> pd.DataFrame:
    """Histograms of NRN of the two final pairs: alive features, all, and alive of the replica."""
    tables = []
    for paradigm in ("sft", "rl"):
        pair = nrn[nrn["crosscoder"] == FINAL[paradigm]]
        main, other = pair[pair["replica"] == 0], pair[pair["replica"] == 1]
        tables.append(
            pd.DataFrame(
                {
                    "family": family,
                    "paradigm": paradigm,
                    "left": BINS[:-1],
                    "right": BINS[1:],
                    "alive": count(main.loc[main["alive"] == 1, "nrn"]),
                    "all": count(main["nrn"]),
                    "alive_replica": count(other.loc[other["alive"] == 1, "nrn"]),
                    "alive_folded": count(main.loc[main["alive"] == 1, "nrn_folded"]),
                }
            )
        )
    return pd.concat(tables)


def draw_nrn(counts: pd.DataFrame, labels: dict[str, str]) -> plt.Figure:
    """One row a family, SFT left and RL right; the count axis is logarithmic."""
    families = list(dict.fromkeys(counts["family"]))
    figure, grid = plt.subplots(
        len(families),
        2,
        figsize=(6.3, 2.3 * len(families)),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    for row, family in zip(grid, families, strict=True):
        for axes, paradigm in zip(row, ("sft", "rl"), strict=True):
            part = counts[(counts["family"] == family) & (counts["paradigm"] == paradigm)]
            draw_histogram(axes, part, paradigm)
            axes.set_title(f"{labels[family]}: {NAMES[paradigm]} against base")
        count_axis(row[0], counts.loc[counts["family"] == family, "all"].max())
        row[0].set_ylabel("features")
    for axes in grid[-1]:
        axes.set_xlabel("NRN   (0: base only, 1: tuned only)")
    grid[0, 1].legend(loc="upper right", handlelength=1.2)  # RL's distribution is the narrower one
    return figure


def draw_histogram(axes: plt.Axes, part: pd.DataFrame, paradigm: str) -> None:
    """Alive features as bars, all features and the replica as outlines."""
    edges = [*part["left"], 1.0]
    axes.stairs(part["all"], edges, color=LIGHT, fill=True, label="all features")
    axes.stairs(part["alive"], edges, color=COLORS[paradigm], fill=True, label="alive features")
    if part["alive_replica"].any():
        axes.stairs(part["alive_replica"], edges, color="black", lw=0.7, label="alive, other seed")
    axes.axvline(0.5, color="black", lw=0.5, ls=":")
    axes.set_xlim(0, 1)


def count_axis(axes: plt.Axes, highest: int) -> None:
    """A logarithmic axis of counts up to `highest`, on which a single feature is still seen."""
    axes.set_yscale("log")
    axes.set_ylim(0.7, 1.5 * max(1, highest))


def mas_counts(mas: pd.DataFrame, family: str) -> pd.DataFrame:
    """Histograms of MAS for base, SFT and RL."""
    alive = mas[mas["alive"] == 1]
    return pd.concat(
        pd.DataFrame(
            {
                "family": family,
                "model": model,
                "left": BINS[:-1],
                "right": BINS[1:],
                "alive": count(alive[f"mas_{model}"]),
                "all": count(mas[f"mas_{model}"]),
            }
        )
        for model in ("base", "sft", "rl")
    )


def draw_mas(counts: pd.DataFrame, labels: dict[str, str]) -> plt.Figure:
    """One panel a model; the count axis is logarithmic."""
    figure, row = plt.subplots(1, 3, figsize=(6.9, 2.3), sharex=True, sharey=True)
    family = counts["family"].iloc[0]
    for axes, model in zip(row, ("base", "sft", "rl"), strict=True):
        part = counts[counts["model"] == model]
        edges = [*part["left"], 1.0]
        axes.stairs(part["all"], edges, color=LIGHT, fill=True, label="all features")
        axes.stairs(part["alive"], edges, color=COLORS[model], fill=True, label="alive features")
        axes.axvline(1 / 3, color="black", lw=0.5, ls=":")
        axes.set_xlim(0, 1)
        axes.set_title(NAMES[model])
        axes.set_xlabel("MAS")
    count_axis(row[0], counts["all"].max())
    row[0].set_ylabel("features")
    row[2].legend(loc="upper right")
    figure.suptitle(labels[family], fontsize=9)
    return figure
