"""Group sequences into batches."""

from collections.abc import Iterator, Mapping, Sized
from typing import TypeVar

import numpy as np

Index = TypeVar("Index")
Rows = TypeVar("Rows", list, np.ndarray)


def batches(rows: Rows, size: int) -> Iterator[Rows]:
    """Yield consecutive slices of up to `size` rows, of a list or of an array's first axis."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def batches_by_length(texts: Mapping[Index, Sized], size: int) -> Iterator[list[Index]]:
    """Yield the keys of `texts` in batches of similar length, the longest first.

    Similar lengths need little padding, and the longest first shows at once whether memory is
    sufficient.
    """
    return batches(sorted(texts, key=lambda index: -len(texts[index])), size)
