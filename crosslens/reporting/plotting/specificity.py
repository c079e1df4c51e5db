"""Draw Figures 1, 3, 5 and 6: how specific features are to a model."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Int

from crosslens.analysis.tails import false_fraction
from crosslens.config.study_design import FINAL
from crosslens.reporting.plotting.style import COLORS, LIGHT, NAMES

BINS = np.linspace(0, 1, 51)
TAIL = 0.8  # the score above which a panel counts features


def count(values: pd.Series) -> Int[np.ndarray, " bins"]:
    """Return a histogram over [0, 1]; NaN is left out."""
    return np.histogram(values.dropna(), BINS)[0]


def nrn_counts(nrn: pd.DataFrame, family: str) -> pd.DataFrame:
    """Return histograms of NRN for the two-model crosscoders of the final models.

    Columns: `alive` features, `all` features, alive features of another seed (`alive_replicate`),
    alive ones by NRN with scales folded in and by NRN* (`alive_star`), and alive ones of the
    crosscoder on `swapped` rows. `beyond` counts alive features above TAIL; `q` is their false
    fraction, NaN without that crosscoder.
    """
    tables = []
    for paradigm in ("sft", "rl"):
        pair = nrn[nrn["crosscoder"] == FINAL[paradigm]]
        main, other = pair[pair["replicate"] == 0], pair[pair["replicate"] == 1]
        null = nrn[(nrn["crosscoder"] == f"{FINAL[paradigm]}-swapped") & (nrn["alive"] == 1)]
        alive = main[main["alive"] == 1]
        tables.append(
            pd.DataFrame(
                {
                    "family": family,
                    "paradigm": paradigm,
                    "left": BINS[:-1],
                    "right": BINS[1:],
                    "alive": count(alive["nrn"]),
                    "all": count(main["nrn"]),
                    "alive_replicate": count(other.loc[other["alive"] == 1, "nrn"]),
                    "alive_folded": count(alive["nrn_folded"]),
                    "alive_star": count(alive["nrn_star"]),
                    **against_null(alive["nrn"], null["nrn"]),
                }
            )
        )
    return pd.concat(tables)


def against_null(values: pd.Series, null: pd.Series) -> dict[str, Any]:
    """Return the columns swapped, beyond and q of a histogram's table."""
    q = false_fraction(values.to_numpy(), null.to_numpy(), TAIL) if len(null) else np.nan
    return {"swapped": count(null), "beyond": int((values > TAIL).sum()), "q": q}


def note_tail(axes: plt.Axes, part: pd.DataFrame, score: str) -> None:
    """Write the number of alive features above TAIL, and the fraction that the null explains."""
    beyond, q = part["beyond"].iloc[0], part["q"].iloc[0]
    fraction = "" if np.isnan(q) else f", false fraction {q:.2f}"
    axes.set_xlabel(f"{score}\n{beyond} above {TAIL}{fraction}")


def draw_nrn(counts: pd.DataFrame, labels: dict[str, str]) -> plt.Figure:
    """Draw one row for each family, SFT left and RL right; the count axis is logarithmic."""
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
            note_tail(axes, part, "NRN   (0: base only, 1: tuned only)")
        count_axis(row[0], int(counts.loc[counts["family"] == family, "all"].max()))
        row[0].set_ylabel("features")
    legend_below(figure)
    return figure


def draw_histogram(axes: plt.Axes, part: pd.DataFrame, paradigm: str) -> None:
    """Draw alive features as bars, all features and the replicate as outlines."""
    edges = [*part["left"], 1.0]
    axes.stairs(part["all"], edges, color=LIGHT, fill=True, label="all features")
    axes.stairs(part["alive"], edges, color=COLORS[paradigm], fill=True, label="alive features")
    if part["alive_replicate"].any():
        axes.stairs(
            part["alive_replicate"], edges, color="black", lw=0.7, label="alive, other seed"
        )
    draw_corrections(axes, part, "NRN*")
    axes.axvline(0.5, color="black", lw=0.5, ls=":")
    axes.set_xlim(0, 1)


def draw_corrections(axes: plt.Axes, part: pd.DataFrame, star: str) -> None:
    """Draw alive features by their score without shrinkage, and those of the null, as outlines."""
    edges = [*part["left"], 1.0]
    axes.stairs(part["alive_star"], edges, color="tab:purple", lw=0.9, label=f"alive, {star}")
    if part["swapped"].any():
        axes.stairs(part["swapped"], edges, color="black", lw=0.9, ls=":", label="swapped rows")


def legend_below(figure: plt.Figure) -> None:
    """Draw one legend of all panels, in a row below them."""
    legends = [axes.get_legend_handles_labels() for axes in figure.axes]
    named = {name: h for handles, names in legends for h, name in zip(handles, names, strict=True)}
    figure.legend(named.values(), named, loc="outside lower center", ncols=5, handlelength=1.2)


def count_axis(axes: plt.Axes, highest: int) -> None:
    """Set a logarithmic axis of counts up to `highest`, on which a single feature is visible."""
    axes.set_yscale("log")
    axes.set_ylim(0.7, 1.5 * max(1, highest))


def mas_counts(every: pd.DataFrame, family: str) -> pd.DataFrame:
    """Return histograms of MAS for base, SFT and RL in the first trio, as `nrn_counts` does."""
    first = every[every["replicate"] == 0]
    mas = first[first["crosscoder"] == "trio"]
    null = first[(first["crosscoder"] == "trio-swapped") & (first["alive"] == 1)]
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
                "alive_star": count(alive[f"mas_{model}_star"]),
                **against_null(alive[f"mas_{model}"], null[f"mas_{model}"]),
            }
        )
        for model in ("base", "sft", "rl")
    )


def draw_mas(counts: pd.DataFrame, labels: dict[str, str]) -> plt.Figure:
    """Draw one panel for each model; the count axis is logarithmic."""
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
        draw_corrections(axes, part, "MAS*")
        note_tail(axes, part, "MAS")
    count_axis(row[0], int(counts["all"].max()))
    row[0].set_ylabel("features")
    legend_below(figure)
    figure.suptitle(labels[family], fontsize=9)
    return figure
