"""Figures 2, 7 and 8 to 13: how the most specific features change over training."""

import matplotlib.pyplot as plt
import pandas as pd

from crosslens.config.study_design import N_CHECKPOINTS
from crosslens.reporting.plotting.style import NAMES, draw_placeholder, heatmap

OVERLAP_LABELS = {"index": "by index", "matched": "by decoder direction"}
TOGETHER = {"together": "in one crosscoder"}  # of base and all checkpoints, where it is trained
NULLS_TOGETHER = ("together_null", "together_null_high")


def draw_overlap(overlap: pd.DataFrame, labels: dict[str, str], top: int) -> plt.Figure:
    """Draw heatmaps of the overlap between checkpoints, SFT left and RL right.

    Each family has a row by index, as in the paper, a row by direction, and a row within a
    crosscoder of base and all checkpoints, if there is one. The text below a heatmap gives the
    overlap of the last checkpoint's crosscoder with that of another seed.
    """
    families = list(dict.fromkeys(overlap["family"]))
    kinds = OVERLAP_LABELS | (TOGETHER if (overlap["kind"] == "together").any() else {})
    rows = [(family, kind) for family in families for kind in kinds]
    figure, grid = plt.subplots(len(rows), 2, figsize=(5.4, 2.6 * len(rows)), squeeze=False)
    for line, (family, kind) in zip(grid, rows, strict=True):
        for axes, paradigm in zip(line, ("sft", "rl"), strict=True):
            part = overlap[(overlap["family"] == family) & (overlap["paradigm"] == paradigm)]
            axes.set_title(f"{labels[family]} {NAMES[paradigm]}, {kinds[kind]}")
            shown = part[part["kind"] == kind]
            if shown.empty:
                draw_placeholder(axes, "not trained")
                continue
            draw_heatmap(axes, square(shown), top)
            if kind in TOGETHER:
                axes.set(xlabel=f"checkpoint\n({by_chance(part)})", ylabel="checkpoint")
                continue
            again = part[part["kind"] == f"replicate_{kind}"]["overlap"]
            values = ", ".join(f"{v:.0f}" for v in again) or "not trained"
            alone = "\nno earlier checkpoint is studied" if part["a"].nunique() == 1 else ""
            last = f"{N_CHECKPOINTS} against {N_CHECKPOINTS} with another seed: {values}"
            axes.set_xlabel(f"checkpoint\n({last}){alone}")
            axes.set_ylabel("checkpoint")
    return figure


def by_chance(part: pd.DataFrame) -> str:
    """Return the null of overlaps within one crosscoder: its mean and 95% quantile."""
    mean, high = (part.loc[part["kind"] == kind, "overlap"].item() for kind in NULLS_TOGETHER)
    return f"norms shuffled over models: {mean:.0f}, 95%: {high:.0f}"


def square(part: pd.DataFrame) -> pd.DataFrame:
    """Return pairs as a symmetric matrix."""
    both = pd.concat([part, part.rename(columns={"a": "b", "b": "a"})])
    return both.drop_duplicates(["a", "b"]).pivot(index="a", columns="b", values="overlap")


def draw_heatmap(axes: plt.Axes, matrix: pd.DataFrame, top: int) -> None:
    """Draw an annotated heatmap of counts out of `top`."""
    heatmap(axes, matrix, cmap="Blues", vmin=0, vmax=top, annot=True, fmt=".0f", square=True)


def draw_rank_shifts(
    shifts: pd.DataFrame, label: str, paradigm: str, top: int, checkpoints: int
) -> plt.Figure:
    """Draw rank shifts between two-model crosscoders, as in the paper.

    Below are those within one crosscoder of base and all checkpoints, if there is one. If only the
    last of a family's `checkpoints` is studied, there are no shifts, and the figure says so.
    """
    kinds = {"pairs": ""}
    if (shifts["kind"] == "together").any():
        kinds["together"] = ", in one crosscoder"
    size = (7.2, 1.9 * len(kinds))
    figure, column = plt.subplots(len(kinds), 1, figsize=size, squeeze=False)
    for axes, (kind, where) in zip(column[:, 0], kinds.items(), strict=True):
        axes.set_title(f"{label} {NAMES[paradigm]}{where}")
        part = shifts[shifts["kind"] == kind]
        if part.empty:
            reason = (
                "no feature is alive" if checkpoints > 1 else "only the last checkpoint is studied"
            )
            draw_placeholder(axes, f"no rank shifts: {reason}")
        else:
            draw_shifts(axes, part, top)
    return figure


def draw_shifts(axes: plt.Axes, shifts: pd.DataFrame, top: int) -> None:
    """Draw a column per feature in the order of `shifts`, a row per two adjacent checkpoints.

    A cell is blank (grey, as a shift of zero is white) if the feature is not in both top lists.
    """
    order = list(dict.fromkeys(shifts["feature"]))
    steps = shifts["from"].astype(str) + " → " + shifts["to"].astype(str)
    matrix = shifts.assign(step=steps).pivot(index="step", columns="feature", values="shift")[order]
    heatmap(axes, matrix, cmap="RdBu_r", vmin=-top, vmax=top, xticklabels=False)
    axes.set_ylabel("checkpoints")
    axes.set_xlabel(f"{len(order)} features in a top {top}, in order of first appearance")
    label = "rank shift (+: rises)"
    axes.figure.colorbar(axes.collections[0], ax=axes, label=label, pad=0.01)
