"""Batches hold every sequence once."""

import numpy as np

from crosslens.models.batching import batches, batches_by_length


def test_batches_are_consecutive_slices_of_lists_and_arrays() -> None:
    assert list(batches([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    parts = list(batches(np.arange(10).reshape(5, 2), 3))
    assert [part.tolist() for part in parts] == [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9]]]


def test_longest_texts_come_first_and_keep_their_keys() -> None:
    texts = {7: "a", 3: "aaa", 5: "aa", 1: "aaa"}
    assert list(batches_by_length(texts, 2)) == [[3, 1], [5, 7]]
