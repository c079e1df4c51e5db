"""The texts kept for feature cards: which, how many, and whatever the order or division of work."""

import numpy as np
import pytest

from crosslens.analysis.context_pool import (
    AFTER,
    BEFORE,
    NEAR_MISS,
    STRONGEST,
    ContextPool,
    Contexts,
    candidates,
    octaves,
    token_hashes,
)


def texts(pre: list[list[float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pre-activations of one feature on texts, its only readout, and ids that name the place."""
    found = np.array(pre, dtype=np.float32)[:, :, None]
    ids = np.arange(found.size).reshape(found.shape[:2])
    return found, np.maximum(found, 0)[:, :, None], ids


def drawn_pre(n: int, t: int, k: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(-1, 1.5, (n, t, k)).astype(np.float32)


def pool_of(pre: np.ndarray, cuts: list[int], order: list[int], **limits: int) -> Contexts:
    """Return what a pool keeps of texts that arrive in parts, in some order."""
    ids = np.arange(pre.shape[0] * pre.shape[1]).reshape(pre.shape[:2])
    codes = np.maximum(pre, 0)[:, :, None]
    parts = [
        candidates(pre[a:b], codes[a:b], ids[a:b], a) for a, b in zip(cuts, cuts[1:], strict=False)
    ]
    pool = ContextPool(**limits)
    for i in order:
        pool.add(parts[i])
    assert pool.kept is not None
    return pool.kept


def test_one_strongest_a_text_in_order_of_value() -> None:
    """Facts' worked example: of (1, 5.0), (1, 6.0), (2, 4.0), (3, 5.5) the two best."""
    pre, codes, ids = texts([[0, 0], [5, 6], [4, 0], [0, 5.5]])
    pool = ContextPool(strongest=2)
    pool.add(candidates(pre, codes, ids, 0))
    best = pool.of_feature(0)["strongest"]
    assert list(zip(best.sequence, best.value, strict=True)) == [(1, 6.0), (3, 5.5)]
    assert best.ids[:, BEFORE].tolist() == [3, 7]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_neither_order_nor_division_matters(order: list[int]) -> None:
    pre = drawn_pre(30, 12, 5)
    limits = {"strongest": 3, "of_octave": 2, "near_misses": 2}
    whole = pool_of(pre, [0, 30], [0], **limits)
    parts = pool_of(pre, [0, 7, 19, 30], order, **limits)
    for a, b in zip(whole, parts, strict=True):
        assert np.array_equal(a, b)


def test_pools_of_two_jobs_merge_to_the_pool_of_one() -> None:
    pre = drawn_pre(20, 8, 3, seed=1)
    ids = np.arange(160).reshape(20, 8)
    codes = np.maximum(pre, 0)[:, :, None]
    one, first, second = ContextPool(), ContextPool(), ContextPool()
    one.add(candidates(pre, codes, ids, 0))
    first.add(candidates(pre[:9], codes[:9], ids[:9], 0))
    second.add(candidates(pre[9:], codes[9:], ids[9:], 9))
    assert second.kept is not None
    first.add(second.kept)
    assert one.kept is not None
    assert first.kept is not None
    assert all(np.array_equal(a, b) for a, b in zip(one.kept, first.kept, strict=True))


def test_memory_is_bounded() -> None:
    kept = pool_of(drawn_pre(400, 16, 2), [0, 200, 400], [0, 1], strongest=3, of_octave=2)
    for feature in range(2):
        own = kept.take(kept.feature == feature)
        for kind in set(own.kind):
            limit = {STRONGEST: 3, NEAR_MISS: 5}.get(int(kind), 2)
            assert (own.kind == kind).sum() <= limit


def test_levels_are_octaves_below_the_strongest() -> None:
    pre, codes, ids = texts([[9.0], [5.0], [3.0], [1.5], [0.3], [-0.2], [-7.0]])
    pool = ContextPool(near_misses=1)
    pool.add(candidates(pre, codes, ids, 0))
    found = pool.of_feature(0)
    values = {kind: sorted(np.round(own.value, 3).tolist()) for kind, own in found.items()}
    assert values.pop("strongest") == pytest.approx([0.3, 1.5, 3, 5, 9])
    assert values.pop("level_4") == pytest.approx([0.3, 1.5])
    assert values.pop("near_miss") == pytest.approx([-0.2])
    assert values == {"level_1": [9], "level_2": [5], "level_3": [3]}


def test_a_token_is_drawn_of_every_octave_of_a_text() -> None:
    """The strongest octave is never empty, however rare it is within its text."""
    pre, codes, ids = texts([[8.0, *[1.0] * 30, 3.0]])
    pool = ContextPool()
    pool.add(candidates(pre, codes, ids, 0))
    found = pool.of_feature(0)
    levels = {kind: own.value.tolist() for kind, own in found.items() if kind.startswith("level")}
    assert levels == {"level_1": [8], "level_2": [], "level_3": [3], "level_4": [1]}


def test_with_a_threshold_a_near_miss_may_be_positive() -> None:
    pre, codes, ids = texts([[0.4, -1.0], [0.2, 0.1]])
    pool = ContextPool()
    pool.add(candidates(pre, np.zeros_like(codes), ids, 0))
    assert pool.of_feature(0)["near_miss"].value.tolist() == pytest.approx([0.4, 0.2])


def test_a_feature_that_never_fires_has_near_misses_alone() -> None:
    pre, codes, ids = texts([[-3, -2], [-1, -5]])
    pool = ContextPool()
    pool.add(candidates(pre, codes, ids, 0))
    found = pool.of_feature(0)
    assert found["near_miss"].value.tolist() == [-1, -2]
    assert len(found["strongest"].value) == 0


def test_a_position_left_out_is_never_chosen() -> None:
    pre, codes, ids = texts([[9, -1, 2], [8, -3, -4]])
    pre[:, 0], codes[:, 0] = -np.inf, 0
    pool = ContextPool()
    pool.add(candidates(pre, codes, ids, 0))
    found = pool.of_feature(0)
    assert found["strongest"].value.tolist() == [2]
    assert found["near_miss"].value.tolist() == [-3]


def test_windows_end_with_the_text() -> None:
    t = BEFORE + AFTER + 4
    pre = np.full((1, t, 1), -1, dtype=np.float32)
    pre[0, 1] = 3
    found = candidates(pre, np.maximum(pre, 0)[:, :, None], np.arange(t)[None], 0)
    window = found.take(found.kind == STRONGEST)
    assert window.ids[0, : BEFORE - 1].tolist() == [-1] * (BEFORE - 1)
    assert window.ids[0, BEFORE - 1 :].tolist() == list(range(AFTER + 2))
    assert window.codes[0, 0, BEFORE] == 3


def test_drawn_tokens_are_drawn_evenly() -> None:
    """Of texts where a feature fires everywhere alike, each position is drawn about as often."""
    pre = np.ones((4000, 4, 1), dtype=np.float32)
    found = candidates(pre, pre[:, :, None], np.zeros((4000, 4), int), 0)
    drawn = found.take(found.kind == 0)
    counts = np.bincount(drawn.position, minlength=4)
    assert counts.min() > 900
    assert counts.sum() == 4000


def test_hashes_and_octaves() -> None:
    drawn = token_hashes(np.arange(1000), np.arange(100))
    assert 0.49 < drawn.mean() < 0.51
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert len(np.unique(drawn)) == drawn.size
    assert octaves(np.array([0.5, 0.99, 1, 3.9, 4, 1e-30])).tolist() == [-1, -1, 0, 1, 2, -20]
