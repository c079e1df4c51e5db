"""Define the style of all figures, and write them atomically and with reproducible bytes."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import pandas as pd  # noqa: E402

from crosslens.io.atomic import atomic_write  # noqa: E402
from crosslens.io.records import write_csv  # noqa: E402

COLORS = {"base": "#6b6b6b", "sft": "#d1661e", "rl": "#1f77a4"}  # told apart by the colour-blind
NAMES = {"base": "Base", "sft": "SFT", "rl": "RL"}
LIGHT = "#d9d9d9"

mpl.rcParams.update(
    {
        "font.family": "sans-serif",
        "font.size": 8,
        "axes.titlesize": 9,
        "axes.labelsize": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "legend.frameon": False,
        "legend.fontsize": 7,
        "figure.constrained_layout.use": True,
        "pdf.fonttype": 42,
        "savefig.dpi": 200,
    }
)


def save(figure: plt.Figure, table: pd.DataFrame, outputs: dict[str, Path]) -> None:
    """Write a figure's pdf and png, and its source data as csv; no dates inside."""
    for kind, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
        with atomic_write(outputs[kind]) as partial:
            figure.savefig(partial, format=kind, metadata=metadata)
    write_csv(outputs["csv"], table)
    plt.close(figure)


def draw_placeholder(axes: plt.Axes, text: str) -> None:
    """Write a sentence in place of a plot that has nothing to show."""
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, wrap=True)
    axes.set_xticks([])
    axes.set_yticks([])


def heatmap(axes: plt.Axes, matrix: pd.DataFrame, **options: Any) -> None:
    """Draw a heatmap with seaborn's `options`, without axis labels; NaN is grey."""
    import seaborn as sns  # takes 0.6 s, which other figures need not wait for

    sns.heatmap(matrix, ax=axes, cbar=False, rasterized=True, **options)
    axes.set_facecolor(LIGHT)
    axes.tick_params(length=0, labelrotation=0)
    axes.set(xlabel="", ylabel="")
