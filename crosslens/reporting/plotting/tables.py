"""Draw tables as figures: rules above and below, numbers aligned."""

import matplotlib.pyplot as plt
import pandas as pd

LINE, WIDTH, FIRST, LETTER, TITLE = 0.24, 1.15, 2.1, 0.055, 0.063  # inches


def draw_table(cells: pd.DataFrame, title: str, rules: list[int]) -> plt.Figure:
    """Draw a table of strings, with a thin line before each row of `rules`."""
    rows, columns = cells.shape
    longest = max(len(str(value)) for value in cells.iloc[:, 1:].to_numpy().flat)
    wide = max(WIDTH, LETTER * longest)
    wide = max(wide, (TITLE * len(title) - FIRST) / (columns - 1))
    width, height = FIRST + wide * (columns - 1), LINE * (rows + 2.4)
    figure, axes = plt.subplots(figsize=(width, height), layout="none")
    axes.set_position([0.01, 0.01, 0.98, 0.98])
    axes.set(xlim=(0, width), ylim=(rows + 2.2, -0.2))
    axes.axis("off")
    axes.text(0.05, 0.45, title, va="center", fontsize=8)
    for column, name in enumerate(cells.columns):
        x = FIRST + wide * (column - 0.5) if column else None
        write(axes, x, 1.5, name, weight="bold")
        for row, value in enumerate(cells[name]):
            write(axes, x, row + 2.5, value)
    for y, thick in [(1, 1.0), (2, 0.6), (rows + 2, 1.0), *((rule + 2, 0.3) for rule in rules)]:
        axes.plot([0.02, width - 0.02], [y, y], color="black", lw=thick)
    return figure


def write(axes: plt.Axes, x: float | None, y: float, text: str, weight: str = "normal") -> None:
    """Write text centred at x, or left-aligned in the first column."""
    place, side = (0.05, "left") if x is None else (x, "center")
    axes.text(place, y, text, va="center", ha=side, fontsize=7, weight=weight)
