"""Figure 4: overlap of the tasks' generalization features."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from crosslens.reporting.plotting.style import COLORS, draw_placeholder, heatmap
from crosslens.reporting.tables import task_title

CELLS = {  # what base and RL do with the questions that features are selected on
    "won": "base incorrect, RL correct",
    "both_right": "both correct",
    "both_wrong": "both incorrect",
    "lost": "base correct, RL incorrect",
    "contrast": "won less all others",
}


def overlap_rows(features: dict, family: str, replicate: int = 0) -> pd.DataFrame:
    """Return one row for each two tasks: sizes, Jaccard index, fraction of the smaller set.

    `cell` is "paper" for the sets of the paper's score. For other cells, features were selected by
    their contributions on the questions of the cell. `chance` is the fraction for random sets.
    """
    selections = features["tasks"]
    paper_sizes = {task: len(entry["selected"]) for task, entry in selections.items()}
    paper_overlap = [
        *({"a": t, "b": t, "jaccard": 1.0, "share": 1.0} for t, n in paper_sizes.items() if n),
        *features["overlap"],
    ]
    papers = {"sizes": paper_sizes, "overlap": paper_overlap}
    tables = []
    for cell, entry in {"paper": papers, **features["cells"]}.items():
        table = pd.DataFrame(entry["overlap"], columns=["a", "b", "jaccard", "share", "chance"])
        sizes = {f"size_{side}": table[side].map(entry["sizes"]) for side in "ab"}
        tables.append(table.assign(cell=cell, **sizes))
    rows = pd.concat(tables).astype(dict.fromkeys(("jaccard", "share", "chance"), float))
    rows.insert(0, "family", family)
    rows.insert(1, "replicate", replicate)
    return rows


def draw_feature_overlap(
    table: pd.DataFrame, tasks: list[str], labels: dict[str, str], common: dict[str, int]
) -> plt.Figure:
    """Draw a heatmap for each family, and below it the null.

    A cell is the fraction of the smaller of two tasks' sets that the other set contains. The null
    is this fraction for features selected on other questions.
    """
    families = list(dict.fromkeys(common))
    figure, grid = plt.subplots(
        *(2, len(families)),
        figsize=(3.9 * len(families), 5.4),
        squeeze=False,
        height_ratios=[3.6, 1.6],
    )
    for axes, below, family in zip(*grid, families, strict=True):
        features = "feature" if common[family] == 1 else "features"
        axes.set_title(f"{labels[family]}: {common[family]} {features} in all tasks")
        part = table[table["family"] == family]
        papers = part[(part["cell"] == "paper") & (part["replicate"] == 0)]
        if papers["share"].notna().any():
            draw_shares(axes, papers, tasks)
        else:
            draw_placeholder(axes, "no task has selected features")
        draw_null(below, part[part["cell"] != "paper"])
    return figure


def draw_null(axes: plt.Axes, part: pd.DataFrame) -> None:
    """Draw the mean fraction in common over pairs of tasks: points are seeds, bars random sets."""
    means = part.groupby(["cell", "replicate"])[["share", "chance"]].mean()
    for place, cell in enumerate(CELLS):
        if cell in means.index:
            own = means.loc[cell]
            axes.plot(own["share"], [place] * len(own), "o", color=COLORS["rl"], ms=4, alpha=0.7)
            axes.plot(own["chance"], [place] * len(own), "|", color="black", ms=8)
    axes.set_yticks(range(len(CELLS)), list(CELLS.values()))
    axes.set(xlim=(-0.02, 1.02), ylim=(len(CELLS) - 0.5, -0.5))
    axes.set_xlabel("mean fraction in common\n(bar: of random sets)")


def draw_shares(axes: plt.Axes, part: pd.DataFrame, tasks: list[str]) -> None:
    """Draw percentages in the cells, the number of features in the labels."""
    both = pd.concat([part, part.rename(columns={"a": "b", "b": "a"})])
    matrix = both.drop_duplicates(["a", "b"]).pivot(index="a", columns="b", values="share")
    matrix = matrix.reindex(index=tasks, columns=tasks)
    sizes = part.drop_duplicates("a").set_index("a")["size_a"]
    names = [f"{task_title(task)} ({int(sizes.get(task, 0))})" for task in tasks]
    texts = matrix.map(lambda share: "–" if np.isnan(share) else f"{share:.0%}")
    written = {"annot": texts, "fmt": "", "annot_kws": {"fontsize": 7}, "yticklabels": names}
    heatmap(axes, matrix.fillna(0), cmap="Blues", vmin=0, vmax=1, square=True, **written)
    axes.set_xticklabels(names, rotation=30, ha="right")
