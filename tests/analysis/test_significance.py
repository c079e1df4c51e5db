"""Tests and intervals by worked numbers, against exact enumeration, and by their error rates."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from crosslens.analysis.significance import (
    Effects,
    benjamini_hochberg,
    bootstrap,
    excess,
    holm,
    mcnemar,
    none_changed,
    permutation_p,
    t_interval,
)


@pytest.mark.parametrize(
    ("won", "lost", "exact", "mid_p"),
    [(14, 5, 0.064, 0.041), (15, 2, 0.00235, 0.00131), (5, 14, 0.064, 0.041), (3, 3, 1.0, 1.0)],
)
def test_mcnemar_by_worked_numbers(won, lost, exact, mid_p) -> None:
    found = mcnemar(won, lost)
    assert found.exact == pytest.approx(exact, rel=0.02)
    assert found.mid_p == pytest.approx(mid_p, rel=0.05)
    assert found.p(won + lost) == found.mid_p
    assert mcnemar(0, 0) == (1.0, 1.0)


def test_mcnemar_by_enumeration() -> None:
    def tail(won: int, lost: int) -> float:
        coins = [sum(bits) for bits in product((0, 1), repeat=won + lost)]
        return min(1.0, 2 * sum(c <= min(won, lost) for c in coins) / len(coins))

    for won in range(6):
        for lost in range(6):
            if won + lost:
                assert mcnemar(won, lost).exact == pytest.approx(tail(won, lost))


def most_lost(changed: int) -> int:
    """Return how many of the changed questions may be lost so that McNemar's test rejects."""
    lost = int(stats.binom.ppf(0.025, changed, 0.5)) + 1
    while lost >= 0 and mcnemar(changed - lost, lost).p(changed) >= 0.05:
        lost -= 1
    return lost


@pytest.mark.parametrize(("questions", "gain"), [(234, 0.1), (57, 0.2)])
def test_how_many_questions_show_a_net_gain(questions, gain) -> None:
    """30% of the answers change, with this net gain: by the normal approximation 80% power. Of a
    change, (1 - gain / .3) / 2 are losses."""
    low, high = stats.binom.ppf([0.001, 0.999], questions, 0.3).astype(int)
    changed = np.arange(low, high + 1)
    allowed = [most_lost(d) for d in changed.tolist()]
    rejected = stats.binom.cdf(allowed, changed, (1 - gain / 0.3) / 2)
    power = stats.binom.pmf(changed, questions, 0.3) @ rejected
    assert power == pytest.approx(0.8, abs=0.04)


def test_permutation_p_by_worked_numbers() -> None:
    assert permutation_p(3.0, np.full(5, 1.0), +1) == pytest.approx(
        1 / 6
    )  # no less with five controls
    assert permutation_p(3.0, np.full(19, 1.0), +1) == 0.05
    assert permutation_p(3.0, np.array([1.0] * 98 + [3.0]), +1) == 0.02  # a tie counts
    assert permutation_p(-3.0, np.full(99, 1.0), -1) == 0.01
    assert permutation_p(3.0, np.full(19, np.nan), +1) == 1.0
    assert permutation_p(np.nan, np.zeros(19), +1) == 1.0


def test_holm_and_benjamini_hochberg_by_worked_numbers() -> None:
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.5})
    assert adjusted == pytest.approx({"a": 0.04, "c": 0.09, "b": 0.09, "d": 0.5})
    found = benjamini_hochberg([0.01, np.nan, 0.04, 0.03])
    np.testing.assert_allclose(found, [0.03, np.nan, 0.04, 0.04])


def test_t_interval_of_three_seeds() -> None:
    low, high = t_interval([8, 3, 11])
    assert ((low + high) / 2, (high - low) / 2) == pytest.approx((7.33, 10.0), abs=0.05)
    assert np.isnan(t_interval([8])).all()


@pytest.mark.parametrize("count", [1, 20, 150])
def test_the_bound_of_what_was_never_seen(count: int) -> None:
    """At the bound, seeing none of `count` has a probability of 2.5%."""
    bound = none_changed(count)
    assert (1 - bound) ** count == pytest.approx(0.025)
    assert none_changed(0) == 1.0


def test_excess_leaves_out_controls_without_a_value() -> None:
    assert excess(np.array([5.0, 1.0, np.nan, 3.0])) == 3.0
    assert np.isnan(excess(np.array([5.0, np.nan])))
    assert excess(np.array([5.0])) == 5.0, "compared with nothing"


def effects(rng: np.random.Generator, questions: int, arms: int, gain: float) -> Effects:
    """Net effects of +1, 0 and -1; the set's are shifted by `gain`."""
    part = rng.choice([-1.0, 0.0, 1.0], size=(arms, questions), p=[0.1, 0.8, 0.1])
    part[0, : round(gain * questions)] = 1.0
    return Effects(part, np.ones_like(part))


def test_bootstrap_widens_with_clusters_and_with_seeds() -> None:
    rng = np.random.default_rng(0)
    questions = 400
    alone, stratum = np.arange(questions), np.zeros(questions, dtype=int)
    part = np.repeat(rng.choice([-1.0, 1.0], size=(2, questions // 8)), 8, axis=1)
    same = Effects(part, np.ones_like(part))
    spread = {
        name: bootstrap([same], ids, stratum, draws=500, seed=1).std()
        for name, ids in {"alone": alone, "passages": alone // 8}.items()
    }
    assert spread["passages"] > 2 * spread["alone"]
    far = [effects(rng, questions, 20, gain) for gain in (0.0, 0.2, 0.4)]
    seeds = bootstrap(far, alone, stratum, draws=500, seed=1)
    one = bootstrap(far[1:2], alone, stratum, draws=500, seed=1)
    assert seeds.std() > 2 * one.std()
    assert seeds.mean() == pytest.approx(np.mean([excess(e.values()) for e in far]), abs=0.02)


def test_bootstrap_keeps_the_number_of_questions_of_each_task() -> None:
    stratum = np.array([0] * 90 + [1] * 10)
    part = np.stack([stratum.astype(float), np.zeros(100)])  # the set wins all of the second task
    found = bootstrap([Effects(part, np.ones((2, 100)))], np.arange(100), stratum, draws=50, seed=0)
    np.testing.assert_allclose(found, 0.1)


def test_intervals_cover_and_p_values_hold_their_level() -> None:
    rng = np.random.default_rng(3)
    questions, repeats = 150, 200
    ids, stratum = np.arange(questions), np.arange(questions) % 3
    covered, rejected = 0, 0
    for _ in range(repeats):
        null = effects(rng, questions, 20, gain=0.0)
        values = null.values()
        rejected += permutation_p(values[0], values[1:], +1) <= 0.05
        low, high = np.quantile(bootstrap([null], ids, stratum, draws=200, seed=0), [0.025, 0.975])
        covered += low <= 0 <= high
    assert rejected / repeats <= 0.05 + 3 * (0.05 * 0.95 / repeats) ** 0.5
    assert covered / repeats >= 0.95 - 4 * (0.05 * 0.95 / repeats) ** 0.5
