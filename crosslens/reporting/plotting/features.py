"""Figure 4: overlap of the tasks' generalization features."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from crosslens.reporting.plotting.style import say, text_color
from crosslens.reporting.tables import task_title


def overlap_rows(features: dict, family: str) -> pd.DataFrame:
    """One row for each two tasks: sizes, Jaccard index, share of the smaller set."""
    sizes = {task: len(found["selected"]) for task, found in features["tasks"].items()}
    rows = [{"a": t, "b": t, "jaccard": 1.0, "share": 1.0} for t, size in sizes.items() if size]
    rows += features["overlap"]
    table = pd.DataFrame(rows, columns=["a", "b", "jaccard", "share"])
    table.insert(0, "family", family)
    return table.assign(size_a=table["a"].map(sizes), size_b=table["b"].map(sizes))


def draw_feature_overlap(
    table: pd.DataFrame, tasks: list[str], labels: dict[str, str], common: dict[str, int]
) -> plt.Figure:
    """One heatmap a family: the share of the smaller of two tasks' sets found in the other."""
    families = list(dict.fromkeys(common))
    figure, row = plt.subplots(1, len(families), figsize=(3.9 * len(families), 3.6), squeeze=False)
    for axes, family in zip(row[0], families, strict=True):
        features = "feature" if common[family] == 1 else "features"
        axes.set_title(f"{labels[family]}: {common[family]} {features} in all tasks")
        part = table[table["family"] == family]
        if part["share"].notna().any():
            draw_shares(axes, part, tasks)
        else:
            say(axes, "no task has selected features")
    return figure


def draw_shares(axes: plt.Axes, part: pd.DataFrame, tasks: list[str]) -> None:
    """Percentages in the cells, the number of features in the labels."""
    both = pd.concat([part, part.rename(columns={"a": "b", "b": "a"})])
    matrix = both.drop_duplicates(["a", "b"]).pivot(index="a", columns="b", values="share")
    matrix = matrix.reindex(index=tasks, columns=tasks)
    axes.imshow(np.ma.masked_invalid(matrix), cmap="Blues", vmin=0, vmax=1)
    for i, line in enumerate(matrix.to_numpy()):
        for j, value in enumerate(line):
            text = "–" if np.isnan(value) else f"{100 * value:.0f}%"
            color = "black" if np.isnan(value) else text_color(value, 0, 1)
            axes.text(j, i, text, ha="center", va="center", color=color, fontsize=7)
    sizes = part.drop_duplicates("a").set_index("a")["size_a"]
    names = [f"{task_title(task)} ({int(sizes.get(task, 0))})" for task in tasks]
    axes.set_xticks(range(len(tasks)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(tasks)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
