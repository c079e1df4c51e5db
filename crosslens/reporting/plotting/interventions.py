"""Draw edits next to their controls: dose curves, and all comparisons of the primary set."""

import matplotlib.pyplot as plt
import pandas as pd

from crosslens.analysis.controls import PRIMARY
from crosslens.reporting.plotting.style import COLORS, LIGHT, draw_placeholder
from crosslens.reporting.tables import OTHERS

TARGETS = {"base": "base edited", "rl": "RL edited"}
MEASURES = {
    "net": "net change (points)",
    "directedness": "changed answers that are\nthe other model's",
    "margin": "change of margin (nats)",
}
DOSES = {"multiply": "times a feature's own activation", "clamp": "set to, in dose units"}
EDIT_LABELS = {
    "selected": "selected features",
    "matched": "matched controls",
    **OTHERS,
    "steering_in_span": "    in the features' span",
    "steering_outside_span": "    outside of it",
    "patch": "other model's whole state",
}
NOTE = {"xytext": (0, 5), "textcoords": "offset points", "fontsize": 6}
GROUPS = {"tasks": "selection tasks", "held_out": "held-out tasks"}


def dose_rows(comparisons: pd.DataFrame, family: str) -> pd.DataFrame:
    """Return the dose curves of one family's comparisons.csv, the dose split in kind and value."""
    own = comparisons[
        (comparisons["design"] == "protocol")
        & (comparisons["features"] == PRIMARY)
        & (comparisons["against"] == "matched")
        & comparisons["measure"].isin(MEASURES)
    ].drop(columns=["design", "features", "against"])
    parts = own["dose"].astype(str).str.split(" ", expand=True).reindex(columns=[0, 1])
    own = own.assign(kind=parts[0], dose=pd.to_numeric(parts[1]))
    own.insert(0, "family", family)
    return own.sort_values(["target", "kind", "questions", "measure", "dose"])


def draw_dose_curves(table: pd.DataFrame, labels: dict[str, str]) -> plt.Figure:
    """Draw net change, directedness and margin against the dose, on the selection tasks.

    Controls are dashed, with their range.
    """
    columns = [(target, kind) for target in TARGETS for kind in DOSES]
    figure, grid = plt.subplots(len(MEASURES), len(columns), figsize=(9.2, 5.6), sharex="col")
    shown = table[table["questions"] == "tasks"]
    for line, (measure, name) in zip(grid, MEASURES.items(), strict=True):
        for axes, (target, kind) in zip(line, columns, strict=True):
            part = shown[(shown["target"] == target) & (shown["kind"] == kind)]
            draw_curve(axes, part[part["measure"] == measure], labels)
            if measure == "net":
                axes.set_title(TARGETS[target])
            if measure == "margin":
                axes.set_xlabel(DOSES[kind])
        line[0].set_ylabel(name)
    handles, names = grid[0, 0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside lower center", ncols=4)
    return figure


def draw_curve(axes: plt.Axes, part: pd.DataFrame, labels: dict[str, str]) -> None:
    """Draw one measure against the dose, for all families."""
    axes.axhline(0, color=LIGHT, lw=0.8)
    if part.empty:
        draw_placeholder(axes, "nothing selected")
        return
    for i, (family, one) in enumerate(part.groupby("family", sort=False)):
        color = f"C{i}"
        axes.plot(one["dose"], one["value"], "o-", color=color, ms=3, label=labels[family])
        axes.plot(one["dose"], one["control_mean"], "--", color=color, lw=0.9)
        axes.fill_between(
            one["dose"], one["control_low"], one["control_high"], color=color, alpha=0.15, lw=0
        )


def control_rows(effects: pd.DataFrame, family: str) -> pd.DataFrame:
    """Return the primary arm, and all that it is compared with, from one family's effects.csv.

    The rows are of the crosscoder's first seed at the primary dose, which comes first.
    """
    first = effects[(effects["replicate"] == 0) & effects["target"].isin(TARGETS)]
    own = first[(first["design"] == "protocol") & (first["features"] == PRIMARY)]
    doses = own.groupby("target", sort=False)["dose"].first()
    chosen = own[own["dose"] == own["target"].map(doses)]
    rows = pd.concat([chosen, first[first["kind"] == "patch"]])
    kept = ["target", "task", "kind", "draw", "dose", "n_features", "questions", "won", "lost"]
    kept += ["net", "flips", "directedness", "margin", "size"]
    rows = rows[rows["task"].isin(GROUPS)][kept]
    rows.insert(0, "family", family)
    return rows


def draw_controls(table: pd.DataFrame, labels: dict[str, str]) -> plt.Figure:
    """Draw the net change by the selected features, by their controls and by edits of equal size.

    There is a row for each family and a point for each edit.
    """
    families = list(labels)
    columns = [(target, group) for target in TARGETS for group in GROUPS]
    figure, grid = plt.subplots(
        len(families), 4, figsize=(9.6, 2.5 * len(families)), sharey=True, squeeze=False
    )
    for line, family in zip(grid, families, strict=True):
        for axes, (target, group) in zip(line, columns, strict=True):
            part = table[
                (table["family"] == family) & (table["target"] == target) & (table["task"] == group)
            ]
            axes.set_title(f"{labels[family]}, {TARGETS[target]}\n{GROUPS[group]}")
            draw_edits(axes, part)
    for axes in grid[-1]:
        axes.set_xlabel("net change (points)")
    return figure


def draw_edits(axes: plt.Axes, part: pd.DataFrame) -> None:
    """Draw one point for each edit, and how many questions the selected features won and lost.

    An edit without a feature has no point: that it changed nothing says nothing.
    """
    axes.axvline(0, color=LIGHT, lw=0.8)
    axes.set_yticks(range(len(EDIT_LABELS)), list(EDIT_LABELS.values()))
    axes.set_ylim(len(EDIT_LABELS) - 0.5, -0.5)
    for place, kind in enumerate(EDIT_LABELS):
        edited = (part["n_features"] > 0) | (part["kind"] == "patch")
        rows = part[(part["kind"] == kind) & edited]
        color = COLORS["rl"] if kind == "selected" else COLORS["base"]
        axes.plot(rows["net"], [place] * len(rows), "o", color=color, ms=3, alpha=0.5)
        if rows.empty:
            axes.annotate("nothing edited", (0, place), **NOTE)
        elif kind == "selected":
            own = rows.iloc[0]
            text = f"won {own['won']:.0f}, lost {own['lost']:.0f}"
            axes.annotate(text, (own["net"], place), **NOTE)
