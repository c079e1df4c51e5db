"""Compare sets of features with their controls, over seeds of the crosscoder and over questions."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from crosslens.analysis.arms import MATCHED, SELECTED
from crosslens.analysis.outcomes import MEASURES, Benchmark, Run, question_effects
from crosslens.analysis.significance import (
    Effects,
    benjamini_hochberg,
    bootstrap,
    excess,
    none_changed,
    permutation_p,
)

KEYS = ("target", "design", "features", "dose", "against", "questions", "measure")
NUMBERS = (
    *("value", "control_mean", "control_low", "control_high", "controls"),
    *("excess", "low", "high", "seeds", "compared", "p", "q"),
)
POINTS = {"net": 100.0, "critical": 100.0}  # what these measures are multiplied with for reading
ALONE = ""  # in place of a kind of comparison: the set by itself


class Rule(NamedTuple):
    """Numbers of the verdict: error rate, smallest effect of interest as a fraction of what RL
    gained on the same questions, and of the bootstrap."""

    alpha: float
    smallest: float
    draws: int
    seed: int


class Pair(NamedTuple):
    """One seed's arms, the set's first and then its controls', and the questions compared."""

    replicate: int
    arms: list[int]
    questions: Bool[np.ndarray, " q"]


class Compared(NamedTuple):
    """A set against one kind of comparison, or by itself, over seeds.

    values: the set's and its controls', a row for each seed; `draws` the bootstrap's of the mean
    excess; pairs: each seed's arms and questions. The interval is at least `reach` wide on either
    side of the mean excess: a bootstrap knows no change that did not happen.
    """

    values: list[Float[np.ndarray, " arms"]]
    draws: Float[np.ndarray, " draws"]
    pairs: Sequence[Pair] = ()
    reach: float = 0.0

    def per_seed(self) -> list[float]:
        """Return the excess of each seed."""
        return [float(excess(values)) for values in self.values]

    def p(self, sign: int) -> float:
        """Return the permutation p-value: means over seeds, of as many controls as all have."""
        count = self.controls() + 1
        means = np.mean([values[:count] for values in self.values], axis=0)
        return permutation_p(means[0], means[1:], sign)

    def controls(self) -> int:
        """Return how many controls every seed has."""
        return min(len(values) for values in self.values) - 1

    def interval(self) -> tuple[float, float]:
        """Return the 95% interval of the mean excess."""
        known = self.draws[~np.isnan(self.draws)]
        if not len(known):
            return np.nan, np.nan
        low, high = map(float, np.quantile(known, [0.025, 0.975]))
        if not self.reach:
            return low, high
        middle = float(np.nanmean(self.per_seed()))
        return min(low, middle - self.reach), max(high, middle + self.reach)

    def questions(self) -> int:
        """Return how many questions every seed compares."""
        return min((int(pair.questions.sum()) for pair in self.pairs), default=0)


def pair(run: Run, benchmark: Benchmark, group: str, against: str, **which: Any) -> Pair | None:
    """Return what a seed's set is compared with; None without a set or without any control.

    Questions are those of the group that the set and any control edit; controls those that edit all
    of them, by edits of the set's size. ALONE, a set has all questions that it edits.
    """
    own, others = run.find(kind=SELECTED, **which)[:1], run.find(kind=against, **which)
    if against == ALONE:
        edited = benchmark.fairly_edited([run.arms[i] for i in own]).any(axis=0)
        questions = benchmark.groups()[group] & edited
        return Pair(run.replicate, own, questions) if questions.any() else None
    if not own or not others:
        return None
    edited = benchmark.fairly_edited([run.arms[i] for i in (*own, *others)])
    questions = benchmark.groups()[group] & edited[0] & edited[1:].any(axis=0)
    fair = [i for i, where in zip(others, edited[1:], strict=True) if where[questions].all()]
    return Pair(run.replicate, [*own, *fair], questions) if questions.any() and fair else None


def compare(
    runs: Sequence[Run],
    benchmark: Benchmark,
    group: str,
    measure: str,
    rule: Rule,
    *,
    against: str = MATCHED,
    **which: Any,
) -> Compared | None:
    """Compare a set with its controls of one kind in every seed that has both; None without any.

    On the questions of a group that both edit; `which` names the arms: design, features, dose.
    `against` ALONE gives the effect of the set by itself.
    """
    chosen = benchmark.groups()[group]
    pairs = {run.replicate: pair(run, benchmark, group, against, **which) for run in runs}
    effects: list[Effects] = []
    for run in runs:
        if own := pairs[run.replicate]:
            every = question_effects(run, benchmark, own.arms, measure, chosen)
            effects.append(Effects(*(sums * own.questions[chosen] for sums in every)))
    if not effects:
        return None
    values = [e.values() for e in effects]
    scale, (cluster, stratum) = POINTS.get(measure, 1.0), clusters(benchmark, chosen)
    drawn = bootstrap(effects, cluster, stratum, draws=rule.draws, seed=rule.seed)
    return Compared(
        [scale * v for v in values],
        scale * drawn,
        [p for p in pairs.values() if p],
        scale * reach(effects, cluster) if measure in POINTS else 0.0,
    )


def reach(effects: Sequence[Effects], cluster: Int[np.ndarray, " q"]) -> float:
    """Return `none_changed` of the passages of the seed that edits the fewest."""
    return none_changed(min(len(np.unique(cluster[e.whole[0] > 0])) for e in effects))


def clusters(
    benchmark: Benchmark, chosen: Bool[np.ndarray, " q"]
) -> tuple[Int[np.ndarray, " chosen"], Int[np.ndarray, " chosen"]]:
    """Return the cluster of some questions, a passage within a task, and their stratum, the task.

    A passage that two tasks share is a cluster in each, so a task has as many clusters in every
    draw.
    """
    task, passage = (
        np.unique(np.asarray(names)[chosen], return_inverse=True)[1]
        for names in (benchmark.task, benchmark.passage)
    )
    both = np.stack([task, passage], axis=1)
    return np.unique(both, axis=0, return_inverse=True)[1].reshape(-1), task


def comparison_rows(
    runs: Sequence[Run], benchmark: Benchmark, rule: Rule
) -> Iterator[dict[str, Any]]:
    """Yield every set against every kind of comparison, on each group of questions, by each
    measure: all that is not a primary hypothesis is exploratory."""
    first = runs[0]
    names = ("design", "features", "dose")
    for values in dict.fromkeys(tuple(arm[n] for n in names) for arm in first.arms):
        which = dict(zip(names, values, strict=True))
        kinds = dict.fromkeys(first.arms[i]["kind"] for i in first.find(**which))
        for against in kinds:
            if against == SELECTED:
                continue
            for group in benchmark.groups():
                for measure in MEASURES:
                    compared = compare(
                        runs, benchmark, group, measure, rule, against=against, **which
                    )
                    if compared:
                        key = {"target": first.target, **which, "against": against}
                        yield key | {"questions": group, "measure": measure} | numbers(compared)


def numbers(compared: Compared) -> dict[str, Any]:
    """Return a comparison's numbers; p is two-sided where the set has more than one control."""
    controls = np.concatenate([values[1:] for values in compared.values])
    controls = controls[~np.isnan(controls)]
    low, high = compared.interval()
    count = compared.controls()
    two_sided = min(1.0, 2 * min(compared.p(+1), compared.p(-1))) if count > 1 else np.nan
    return {
        "value": float(np.mean([values[0] for values in compared.values])),
        "control_mean": float(controls.mean()) if len(controls) else np.nan,
        "control_low": float(controls.min()) if len(controls) else np.nan,
        "control_high": float(controls.max()) if len(controls) else np.nan,
        "controls": count,
        "excess": float(np.mean(compared.per_seed())),
        "low": low,
        "high": high,
        "seeds": len(compared.values),
        "compared": compared.questions(),
        "p": two_sided,
    }


def with_q(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add Benjamini and Hochberg's adjusted p-values, over all rows that have a p-value."""
    adjusted = benjamini_hochberg([row["p"] for row in rows]) if rows else []
    return [row | {"q": float(q)} for row, q in zip(rows, adjusted, strict=True)]
