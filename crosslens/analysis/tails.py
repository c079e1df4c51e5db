"""Count features that are specific to a model, and compare the counts with null crosscoders.

A feature's share is its NRN or MAS, or one of these without the shrinkage of L1 (NRN*, MAS*). A
tail is the set of alive features whose share exceeds a threshold. Nulls are crosscoders whose
inputs cannot have features that are specific to a model (`crosscoder.inputs`): swapped rows, or
noise.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from crosslens.analysis.significance import t_interval
from crosslens.config.crosscoder_design import VARIATION
from crosslens.config.study_design import FINAL

NULLS = ("swapped", "noise")
LEVEL = 0.05  # of the false fraction from which a tail counts


def false_fraction(
    observed: Float[np.ndarray, " k"], null: Float[np.ndarray, " m"], threshold: float
) -> float:
    """Return (1 + number of null values above t) / (number of observed values above t), at most 1.

    This estimates the fraction of a tail that the null produces, too. It is 1 for an empty tail.
    """
    return false_share(int(np.sum(observed > threshold)), int(np.sum(null > threshold)))


def false_share(count: int, null: int) -> float:
    """Return (1 + null) / count, at most 1, for the features of a tail and of its null's tail."""
    return min(1.0, (1 + null) / count) if count else 1.0


class TailStart(NamedTuple):
    """The lowest threshold with a small false fraction, and its count's excess over the null."""

    threshold: float
    excess: int


def tail_start(
    observed: Float[np.ndarray, " k"], null: Float[np.ndarray, " m"], level: float = LEVEL
) -> TailStart | None:
    """Return the lowest threshold with a false fraction of at most `level`, or None."""
    shares = np.sort(observed[~np.isnan(observed)])
    above = len(shares) - np.searchsorted(shares, shares, side="right")
    sorted_null = np.sort(null[~np.isnan(null)])
    null_above = len(sorted_null) - np.searchsorted(sorted_null, shares, side="right")
    low = (above > 0) & (1 + null_above <= level * above)
    if not low.any():
        return None
    first = int(np.argmax(low))
    return TailStart(float(shares[first]), int(above[first] - null_above[first]))


class Shares(NamedTuple):
    """The alive features' shares of one model in one crosscoder."""

    crosscoder: str
    replicate: int
    model: str
    measure: str
    values: Float[np.ndarray, " k"]
    specific: Bool[np.ndarray, " k"]  # only this model has the feature, by latent scaling


def tail_table(shares: Sequence[Shares], thresholds: Sequence[float]) -> pd.DataFrame:
    """Return one row for each of `shares` and each threshold, with the tails of its nulls.

    The null of crosscoder c is c-swapped or c-noise, of any seed. Columns: crosscoder, replicate,
    model, measure, threshold; alive, the number of alive features; count, the size of the tail;
    specific, how many of the tail are specific to the model; and for each kind of null null_{kind},
    the mean count; q_{kind}, the largest false fraction; start_{kind} and excess_{kind}
    (`tail_start`). NaN where there is no such null.
    """
    null_shares: dict[tuple[str, str, str], list[np.ndarray]] = {}
    for part in shares:
        null_shares.setdefault((part.crosscoder, part.model, part.measure), []).append(part.values)
    rows = []
    for part in shares:
        for threshold in thresholds:
            tail = part.values > threshold
            row = [part.crosscoder, part.replicate, part.model, part.measure, threshold]
            row += [len(tail), int(tail.sum()), int((tail & part.specific).sum())]
            for kind in NULLS:
                nulls = null_shares.get((f"{part.crosscoder}-{kind}", part.model, part.measure), [])
                row += compare_with(part.values, nulls, threshold)
            rows.append(row)
    columns = ["crosscoder", "replicate", "model", "measure", "threshold", "alive", "count"]
    columns += [
        "specific",
        *(f"{what}_{kind}" for kind in NULLS for what in ("null", "q", "start", "excess")),
    ]
    return pd.DataFrame(rows, columns=columns)


def compare_with(
    values: Float[np.ndarray, " k"], nulls: Sequence[Float[np.ndarray, " _"]], threshold: float
) -> list[float]:
    """Return the mean tail of the nulls, the largest false fraction, and where the tail starts.

    With several nulls, the start is the highest of theirs. NaN without nulls or without a start.
    """
    if not nulls:
        return [np.nan] * 4
    count = float(np.mean([np.sum(null > threshold) for null in nulls]))
    starts = [start for null in nulls if (start := tail_start(values, null))]
    share = max(false_fraction(values, null, threshold) for null in nulls)
    if len(starts) < len(nulls):
        return [count, share, np.nan, np.nan]
    return [count, share, *max(starts)]


def shares_of_pairs(table: pd.DataFrame) -> Iterator[Shares]:
    """Yield NRN and NRN* of both models of every crosscoder in nrn.csv, base's as 1 - NRN."""
    for (name, replicate), part in alive_parts(table):
        variant = re.sub(rf"{VARIATION}$", "", name)
        for measure, column in (("NRN", "nrn"), ("NRN*", "nrn_star")):
            values, pattern = part[column].to_numpy(), part["pattern"].to_numpy()
            yield Shares(name, replicate, "tuned", measure, values, pattern == variant)
            yield Shares(name, replicate, "base", measure, 1 - values, pattern == "base")


def shares_of_trios(table: pd.DataFrame) -> Iterator[Shares]:
    """Yield MAS and MAS* of the three models of every crosscoder in mas.csv."""
    for (name, replicate), part in alive_parts(table):
        for model, variant in FINAL.items():
            specific = (part["pattern"] == variant).to_numpy()
            for measure, suffix in (("MAS", ""), ("MAS*", "_star")):
                values = part[f"mas_{model}{suffix}"].to_numpy()
                yield Shares(name, replicate, model, measure, values, specific)


def alive_parts(table: pd.DataFrame) -> Iterator[tuple[tuple[str, int], pd.DataFrame]]:
    """Yield the alive features of each crosscoder and seed."""
    yield from table[table["alive"] == 1].groupby(["crosscoder", "replicate"], sort=False)


def seed_interval(counts: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95% t interval of a mean over seeds; None for a single seed."""
    return t_interval(counts) if len(counts) > 1 else None
