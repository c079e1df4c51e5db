"""Find the nonzeros of f on a CPU, by row and by feature, in Numba.

An entry is a nonzero of f: a row of the batch, a feature and a value. `columns` are the features of
entries in the order of rows; `rows` are the rows of entries in the order of features.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt

from crosslens.crosscoder.kernels.cpu import jit

WORD = 8  # adjacent features of a row that are skipped together


@jit
def compact(keep, width, columns, z):
    """Write to columns[z:] the positions of nonzero bytes of `keep`; return the new z."""
    words = keep.view(np.uint64)
    for word in range(len(words)):
        if words[word]:
            for k in range(word * WORD, min((word + 1) * WORD, width)):
                columns[z] = k
                z += keep[k]
    return z


class Product(NamedTuple):
    """Pre-activations `values[b, k] + norms[b] * slack[k] + bias[k]`."""

    values: UInt[np.ndarray, "b d_sparse"]  # bits of bfloat16 (16) or float32 (32)
    norms: Float[np.ndarray, " b"]
    slack: Float[np.ndarray, " d_sparse"]
    bias: Float[np.ndarray, " d_sparse"]


@jit
def compress(
    thread, start, stop, values, norms, slack, bias, bounds, begin, end, columns, f, counts
):
    """Write features and values of a `Product`'s entries above their feature's bound.

    The entries are those of rows [start, stop).
    A thread writes one contiguous part of `columns` and `f`, from start * d_sparse on, and counts
    the entries of each feature.
    """
    width = values.shape[1]
    shift = np.uint32(32 - 8 * values.itemsize)
    row = np.empty(width, dtype=np.float32)
    keep = np.zeros((width + WORD - 1) // WORD * WORD, dtype=np.uint8)
    z = start * width
    counts[thread, :] = 0
    for b in range(start, stop):
        begin[b] = z
        norm = norms[b]
        for k in range(width):
            value = np.uint32(np.uint32(values[b, k]) << shift).view(np.float32)
            row[k] = value + (norm * slack[k] + bias[k])
            keep[k] = not row[k] <= bounds[k]
        z = compact(keep, width, columns, z)
        end[b] = z
        for i in range(begin[b], z):
            k = columns[i]
            f[i] = row[k]
            counts[thread, k] += 1


@jit
def offsets(counts, pointer):
    """Turn counts into positions: `pointer` of each feature, `counts` of each thread's part."""
    total = 0
    for k in range(counts.shape[1]):
        pointer[k] = total
        for t in range(counts.shape[0]):
            here = counts[t, k]
            counts[t, k] = total
            total += here
    pointer[counts.shape[1]] = total


@jit
def transpose(thread, start, stop, begin, end, columns, f, position, rows, f_by_feature):
    """Write the same entries in the order of features, then rows."""
    for b in range(start, stop):
        for i in range(begin[b], end[b]):
            k = columns[i]
            p = position[thread, k]
            position[thread, k] = p + 1
            rows[p] = b
            f_by_feature[p] = f[i]


@jit
def close_gaps(pointer, position, rows, f, n_kept):
    """Close the gaps between parts of features and threads that keep `n_kept` entries."""
    z = begin = 0
    for k in range(n_kept.shape[1]):
        pointer[k] = z
        for t in range(n_kept.shape[0]):
            for i in range(begin, begin + n_kept[t, k]):
                rows[z], f[z] = rows[i], f[i]
                z += 1
            begin = position[t, k]
            position[t, k] = z
    pointer[n_kept.shape[1]] = z
