"""Control sets: random ones, and ones matched feature by feature."""

import numpy as np
import pytest

from crosslens.analysis.controls import Traits, matched_sets, of_size, random_sets


def traits(rng: np.random.Generator, count: int) -> Traits:
    """Traits spread over two powers of ten."""
    return Traits(*(10 ** rng.uniform(-2, 0, count) for _ in range(3)))


def everything(count: int, *but: int) -> np.ndarray:
    return ~np.isin(np.arange(count), but)


def test_matched_features_are_nearer_than_random_ones() -> None:
    rng = np.random.default_rng(0)
    found = traits(rng, 4000)
    own = [1, 2, 3, 4]
    matched = matched_sets(own, found, everything(4000, *own), 99, seed=0)
    assert len(matched.sets) == 99 == len({frozenset(s) for s in matched.sets})
    assert all(len(set(s)) == 4 and not set(s) & set(own) for s in matched.sets)
    logs = found.logarithms()
    apart = np.abs(logs[:, np.array(matched.sets)] - logs[:, None, own]).mean(axis=(1, 2))
    assert (apart < [0.1, 0.2, 0.2]).all() and matched.worst < 1.5
    assert all(abs(value) < 0.1 for value in matched.balance.values())
    assert matched == matched_sets(own, found, everything(4000, *own), 99, seed=0)


def test_a_control_replaces_each_feature_by_one_of_its_own_kind() -> None:
    half = np.array([1.0] * 40 + [0.01] * 40)
    matched = matched_sets([0, 40], Traits(half, half, half), everything(80, 0, 40), 30, seed=1)
    assert len(matched.sets) == 30
    assert all(first < 40 <= second for first, second in matched.sets)
    assert matched.worst == 0


def test_features_beyond_two_calipers_are_no_controls() -> None:
    """Rates 0.1 times 10 ** (0.15 c): c = 0, 1, 1.9 and 2.1 calipers off; nothing else is near."""
    rate = 0.1 * 10 ** (0.15 * np.array([0.0, 0.0, 1.0, 1.9, 2.1, 6.0]))
    ones = np.ones(6)
    matched = matched_sets([0], Traits(rate, ones, ones), everything(6, 0), 99, seed=0)
    assert sorted(k for s in matched.sets for k in s) == [1, 2, 3]
    assert matched.worst == pytest.approx(1.9)
    far = Traits(ones, 10 ** np.array([0.0, *[-3.3] * 5]), ones)
    assert matched_sets([0], far, everything(6, 0), 99, seed=0).sets == []


def test_single_features_have_as_many_controls_as_there_are_candidates() -> None:
    rng = np.random.default_rng(0)
    found = Traits(*(10 ** rng.uniform(-0.2, 0, 300) for _ in range(3)))  # within two calipers
    assert len(matched_sets([5], found, everything(300, 5), 99, seed=0).sets) == 99
    few = np.arange(300) < 20
    assert len(matched_sets([25], found, few, 99, seed=0).sets) == 20


def test_what_cannot_be_matched_has_no_control() -> None:
    one = np.ones(10)
    silent = np.where(np.arange(10) < 5, one, 0.0)
    assert matched_sets([], Traits(one, one, one), everything(10), 5, seed=0).sets == []
    assert matched_sets([7], Traits(silent, one, one), everything(10), 5, seed=0).sets == []
    found = matched_sets([0], Traits(silent, one, one), everything(10, 0), 9, seed=0)
    assert {k for s in found.sets for k in s} == {1, 2, 3, 4}, "silent features are no controls"
    assert matched_sets([0, 1, 2], Traits(one, one, one), np.arange(10) < 2, 5, seed=0).sets == []


def test_random_sets_avoid_the_selected_and_repeat_with_the_seed() -> None:
    sets = random_sets(list(range(20)), {0, 1, 2}, 4, 5, seed=7)
    assert len(sets) == 5 and all(len(set(s)) == 4 for s in sets)
    assert not {0, 1, 2} & {f for s in sets for f in s}
    assert sets == random_sets(list(range(20)), {0, 1, 2}, 4, 5, seed=7)


def test_no_two_random_sets_begin_alike_while_the_pool_has_others() -> None:
    for pool, count in ((12, 12), (4, 4)):
        draws = random_sets(list(range(pool)), set(), 2, count, seed=3)
        assert sorted(draw[0] for draw in draws) == list(range(pool))
        assert all(len(set(draw)) == 2 for draw in draws)
    alone = random_sets(list(range(4)), set(), 1, 5, seed=3)
    assert len(alone) == 5 and {f for draw in alone for f in draw} == set(range(4))


@pytest.mark.parametrize(("pool", "sets"), [(0, 0), (2, 0), (3, 1), (4, 4)])
def test_a_random_set_has_the_full_size_and_counts_once(pool: int, sets: int) -> None:
    draws = random_sets(list(range(pool)), set(), 3, 60, seed=0)
    found = of_size(draws, 3)
    assert len(found) == sets == len({frozenset(draw) for draw in found})
    assert all(len(draw) == 3 for draw in found)
