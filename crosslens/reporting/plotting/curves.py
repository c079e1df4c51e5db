"""Training curves of SFT, GRPO and the crosscoders."""

import matplotlib.pyplot as plt
import pandas as pd

from crosslens.config.study_design import FINAL
from crosslens.reporting.plotting.style import COLORS, LIGHT

GRPO_PANELS = {
    "reward": "mean reward",
    "response_length": "response length (tokens)",
    "clip_fraction": "fraction of clipped tokens",
    "entropy": "entropy (nats)",
}
CROSSCODER_PANELS = {
    "reconstruction": "reconstruction error",
    "fve": "FVE",
    "l0": "L0",
    "dead_share": "dead fraction",
}
SMOOTH = 15  # windows of the running mean in a whole run
COLORED = {FINAL["sft"]: COLORS["sft"], FINAL["rl"]: COLORS["rl"], "trio": "black"}


def draw_sft(curves: pd.DataFrame, labels: dict[str, str]) -> plt.Figure:
    """Draw the loss on the traces: each step in grey, and a line per family, the running mean."""
    figure, axes = plt.subplots(figsize=(3.4, 2.3))
    for family, part in curves.groupby("family", sort=False):
        axes.plot(part["step"], part["loss"], color=LIGHT, lw=0.6, zorder=1)
        smooth = part["loss"].rolling(1 + len(part) // SMOOTH, center=True, min_periods=1).mean()
        axes.plot(part["step"], smooth, lw=1.2, label=labels[family])
    axes.set(xlabel="step", ylabel="cross-entropy on the trace", yscale="log")
    axes.legend()
    return figure


def draw_grpo(curves: pd.DataFrame, labels: dict[str, str]) -> plt.Figure:
    """Draw reward, length, clip fraction and entropy."""
    figure, grid = plt.subplots(1, 4, figsize=(8.4, 2.1))
    for axes, (column, name) in zip(grid, GRPO_PANELS.items(), strict=True):
        for family, part in curves.groupby("family", sort=False):
            axes.plot(part["step"], part[column], lw=0.9, label=labels[family])
        axes.set(xlabel="step", title=name)
    grid[0].legend()
    return figure


def draw_crosscoders(curves: pd.DataFrame, labels: dict[str, str]) -> plt.Figure:
    """Draw reconstruction error, FVE, L0 and the fraction of dead features of every crosscoder.

    FVE is the mean over a crosscoder's models. Crosscoders of final models are in colour.
    """
    curves = curves.assign(fve=curves.filter(like="fve_").mean(axis=1))
    figure, grid = plt.subplots(1, 4, figsize=(8.4, 2.1))
    for axes, (column, name) in zip(grid, CROSSCODER_PANELS.items(), strict=True):
        for (_, crosscoder, replicate), part in curves.groupby(
            ["family", "crosscoder", "replicate"]
        ):
            main = replicate == 0 and crosscoder in COLORED
            axes.plot(
                part["step"],
                part[column],
                color=COLORED[crosscoder] if main else "#c8c8c8",
                lw=0.9 if main else 0.5,
                zorder=2 if main else 1,
                label=crosscoder if main else None,
            )
        axes.set(xlabel="step", title=name)
    for axes in (grid[0], grid[2]):
        axes.set_yscale("log")
    grid[1].set_ylim(0, 1)
    handles = dict(zip(*grid[0].get_legend_handles_labels()[::-1], strict=True))
    grid[1].legend(handles.values(), handles.keys())
    return figure
