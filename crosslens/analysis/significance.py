"""Tests and intervals for the effects of edits: exact, paired, and corrected for their number.

Sources: McNemar (1947) and Fagerland, Lydersen and Laake (2013) for the mid-p variant; Phipson and
Smyth (2010) for the permutation p-value; Holm (1979); Benjamini and Hochberg (1995); Clopper and
Pearson (1934) for the bound where nothing changed.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

# Sums over the last axis of an array; NumPy gives a scalar for that of a vector.
Sums: TypeAlias = Float[np.ndarray, "*s"] | Int[np.ndarray, "*s"] | np.floating | np.integer
LEAST_SEEDS = 3  # that a claim over seeds needs: with two, the t interval is 13 times their spread
FEW = 25  # discordant pairs below which the mid-p value is the better one (Fagerland et al.)


class McNemar(NamedTuple):
    """Two-sided p-values of H0: an edit wins as many questions as it loses."""

    exact: float
    mid_p: float

    def p(self, discordant: int) -> float:
        """Return the mid-p value if few questions changed, else the exact p-value."""
        return self.mid_p if discordant < FEW else self.exact


def mcnemar(won: int, lost: int) -> McNemar:
    """Return McNemar's exact test of `won` against `lost` questions; 1 where neither occurred."""
    discordant, fewer = won + lost, min(won, lost)
    if not discordant:
        return McNemar(1.0, 1.0)
    exact = float(stats.binomtest(fewer, discordant).pvalue)
    if won == lost:
        return McNemar(exact, 1.0)
    return McNemar(exact, exact - float(stats.binom.pmf(fewer, discordant, 0.5)))


def permutation_p(observed: float, controls: Float[np.ndarray, " c"], sign: int) -> float:
    """Return (1 + #{controls at least as extreme}) / (1 + #controls).

    `sign` is +1 when the claim is that `observed` is larger, -1 when it is that it is smaller. A
    control without a value (NaN) counts as more extreme; an observed NaN gives 1.
    """
    if np.isnan(observed):
        return 1.0
    extreme = np.isnan(controls) | (sign * controls >= sign * observed)
    return float((1 + extreme.sum()) / (1 + len(controls)))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's step-down adjusted p-values, which bound the family-wise error rate."""
    ordered = sorted(p_values, key=p_values.__getitem__)
    adjusted, highest = {}, 0.0
    for rank, name in enumerate(ordered):
        highest = max(highest, min(1.0, (len(ordered) - rank) * p_values[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def benjamini_hochberg(p_values: Sequence[float]) -> Float[np.ndarray, " p"]:
    """Return adjusted p-values, which bound the false discovery rate; NaN stays NaN."""
    values = np.asarray(p_values, dtype=float)
    is_number = ~np.isnan(values)
    if is_number.any():
        values[is_number] = stats.false_discovery_control(values[is_number])
    return values


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return the t interval of a mean over a few seeds; NaN for fewer than two."""
    if len(values) < 2:
        return np.nan, np.nan
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values)
    return float(np.mean(values) - half), float(np.mean(values) + half)


def none_changed(count: int) -> float:
    """Return the largest fraction that is possible although none of `count` changed, 1 without any.

    The upper end of Clopper and Pearson's 95% interval: 1 - 0.025^(1 / count).
    """
    if not count:
        return 1.0
    return float(stats.binomtest(0, count).proportion_ci(0.95, method="exact").high)


class Effects(NamedTuple):
    """One seed's effects on every question, for a set of features and for its controls.

    An arm's value is sum(part) / sum(whole): for a net change `part` is +1, 0 or -1 and `whole` 1.
    Row 0 is the set itself, the others are controls.
    """

    part: Float[np.ndarray, "arms q"]
    whole: Float[np.ndarray, "arms q"]

    def values(self) -> Float[np.ndarray, " arms"]:
        """Return each arm's value, NaN where its `whole` is 0."""
        return ratio(self.part.sum(axis=1), self.whole.sum(axis=1))


def ratio(part: Sums, whole: Sums) -> Float[np.ndarray, "*s"]:
    """Return part / whole, NaN where whole is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole == 0, np.nan, part / whole)


def excess(values: Float[np.ndarray, "*s arms"]) -> Float[np.ndarray, "*s"] | np.floating:
    """Return the set's value minus the mean of its controls' values; NaN controls are left out.

    A set that is compared with nothing keeps its value.
    """
    controls = values[..., 1:]
    if not controls.shape[-1]:
        return values[..., 0]
    is_number = ~np.isnan(controls)
    mean = ratio(np.where(is_number, controls, 0.0).sum(axis=-1), is_number.sum(axis=-1))
    return values[..., 0] - mean


def bootstrap(
    seeds: Sequence[Effects],
    cluster: Int[np.ndarray, " q"],
    stratum: Int[np.ndarray, " q"],
    *,
    draws: int,
    seed: int,
) -> Float[np.ndarray, " draws"]:
    """Bootstrap the mean excess over crosscoder seeds, questions and controls.

    Questions are drawn in clusters (one passage each) within strata (tasks), and all arms and seeds
    get the same ones. With one seed, only questions and controls vary.
    """
    rng = np.random.default_rng(seed)
    weights = cluster_weights(cluster, stratum, draws, rng)
    columns = [drawn(effects, cluster, weights, rng) for effects in seeds]
    excesses = np.stack(columns, axis=1)
    chosen = rng.integers(len(seeds), size=(draws, len(seeds)))
    picked = np.take_along_axis(excesses, chosen, axis=1)
    is_number = ~np.isnan(picked)
    return ratio(np.where(is_number, picked, 0.0).sum(axis=1), is_number.sum(axis=1))


def cluster_weights(
    cluster: Int[np.ndarray, " q"],
    stratum: Int[np.ndarray, " q"],
    draws: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "draws c"]:
    """Return how often each draw contains each cluster; every stratum keeps its number of clusters.

    Each cluster belongs to one stratum.
    """
    weights = np.zeros((draws, cluster.max() + 1), dtype=np.float32)
    for value in np.unique(stratum):
        members = np.unique(cluster[stratum == value])
        even = np.full(len(members), 1 / len(members))
        weights[:, members] = rng.multinomial(len(members), even, size=draws)
    return weights


def drawn(
    effects: Effects,
    cluster: Int[np.ndarray, " q"],
    weights: Float[np.ndarray, "draws c"],
    rng: np.random.Generator,
) -> Float[np.ndarray, " draws"]:
    """Return one seed's excess for the drawn questions and controls, if it has any."""
    sums = []
    for values in effects:
        totals = np.zeros((len(values), weights.shape[1]), dtype=np.float32)
        np.add.at(totals.T, cluster, values.T.astype(np.float32))
        sums.append(weights @ totals.T)
    values = ratio(*sums)
    count = values.shape[1] - 1
    controls = rng.integers(1, max(2, 1 + count), size=(len(values), count))
    again = np.concatenate([values[:, :1], np.take_along_axis(values, controls, axis=1)], axis=1)
    return excess(again)
