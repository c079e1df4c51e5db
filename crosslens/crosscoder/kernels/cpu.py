"""The sparse step's inner loops on a CPU, in Numba, over ranges of rows or features.

Weights, gradients and moments are matrices [d_sparse, D] with D = n_models * d_model: one feature
is one contiguous row. Every sum runs in a fixed order within one thread, so that a step gives the
same bits each time. Four entries are taken at a time: their rows are fetched together, and sums
are loaded and stored once.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer
from numba import njit

# No `nnan` or `ninf`: a diverged run must be seen. Machine code is kept beside this file.
WORD = 8  # neighbouring features of a row that are passed over together
jit = njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})


@jit
def places(keep, width, columns, z):
    """Write to columns[z:] where `keep`, a byte an entry, is not zero; returns the new z."""
    words = keep.view(np.uint64)
    for word in range(len(words)):
        if words[word]:
            for k in range(word * WORD, min((word + 1) * WORD, width)):
                columns[z] = k
                z += keep[k]
    return z


class Product(NamedTuple):
    """Pre-activations `value + norms[b] * slack[k] + bias[k]`; a value of 16 bits is a bfloat16."""

    values: Integer[np.ndarray, "b d_sparse"]  # as bits
    norms: Float[np.ndarray, " b"]
    slack: Float[np.ndarray, " d_sparse"]
    bias: Float[np.ndarray, " d_sparse"]


@jit
def compress(thread, start, stop, values, norms, slack, bias, begin, end, columns, f, counts):
    """Positive entries of rows [start, stop) of a `Product`: their features and values.

    A thread writes one stretch of `columns` and `f`, from start * d_sparse on, and counts the
    entries of each feature.
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
            keep[k] = not row[k] <= 0
        z = places(keep, width, columns, z)
        end[b] = z
        for i in range(begin[b], z):
            k = columns[i]
            f[i] = row[k]
            counts[thread, k] += 1


@jit
def offsets(counts, pointer):
    """First position of every feature, in `pointer`, and of every thread's part, in `counts`."""
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
    """The same entries ordered by feature, then row: `rows` and their values."""
    for b in range(start, stop):
        for i in range(begin[b], end[b]):
            k = columns[i]
            p = position[thread, k]
            position[thread, k] = p + 1
            rows[p] = b
            f_by_feature[p] = f[i]


@jit
def gather(out, k, weights, indices, first, last, matrix):
    """out[k] += sum of weights[i] * matrix[indices[i]] over i in [first, last)."""
    i = first
    while i + 3 < last:
        r0, r1, r2, r3 = indices[i], indices[i + 1], indices[i + 2], indices[i + 3]
        v0, v1, v2, v3 = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        for j in range(out.shape[1]):
            a = v0 * matrix[r0, j] + v1 * matrix[r1, j]
            out[k, j] += a + (v2 * matrix[r2, j] + v3 * matrix[r3, j])
        i += 4
    while i < last:
        r0, v0 = indices[i], weights[i]
        for j in range(out.shape[1]):
            out[k, j] += v0 * matrix[r0, j]
        i += 1


@jit
def row_dots(dots, k, indices, first, last, matrix, W):
    """dots[i] = matrix[indices[i]] . W[k] for i in [first, last)."""
    i = first
    while i + 3 < last:
        r0, r1, r2, r3 = indices[i], indices[i + 1], indices[i + 2], indices[i + 3]
        s0 = s1 = s2 = s3 = np.float32(0)
        for j in range(matrix.shape[1]):
            w = W[k, j]
            s0 += matrix[r0, j] * w
            s1 += matrix[r1, j] * w
            s2 += matrix[r2, j] * w
            s3 += matrix[r3, j] * w
        dots[i], dots[i + 1], dots[i + 2], dots[i + 3] = s0, s1, s2, s3
        i += 4
    while i < last:
        r0 = indices[i]
        s0 = np.float32(0)
        for j in range(matrix.shape[1]):
            s0 += matrix[r0, j] * W[k, j]
        dots[i] = s0
        i += 1


@jit
def gather_and_dot(out, k, weights, indices, first, last, matrix, W, dots):
    """As `gather`; also dots[i] = matrix[indices[i]] . W[k]."""
    i = first
    while i + 3 < last:
        r0, r1, r2, r3 = indices[i], indices[i + 1], indices[i + 2], indices[i + 3]
        v0, v1, v2, v3 = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        s0 = s1 = s2 = s3 = np.float32(0)
        for j in range(out.shape[1]):
            w = W[k, j]
            s0 += matrix[r0, j] * w
            s1 += matrix[r1, j] * w
            s2 += matrix[r2, j] * w
            s3 += matrix[r3, j] * w
            a = v0 * matrix[r0, j] + v1 * matrix[r1, j]
            out[k, j] += a + (v2 * matrix[r2, j] + v3 * matrix[r3, j])
        dots[i], dots[i + 1], dots[i + 2], dots[i + 3] = s0, s1, s2, s3
        i += 4
    while i < last:
        r0, v0 = indices[i], weights[i]
        s0 = np.float32(0)
        for j in range(out.shape[1]):
            s0 += matrix[r0, j] * W[k, j]
            out[k, j] += v0 * matrix[r0, j]
        dots[i] = s0
        i += 1


@jit
def decode(
    thread, start, stop, pointer, position, rows, f, W_dec, b_dec, x, scale, g, g_b_dec, error
):
    """g = scale * (x_hat - x) for rows [start, stop); their sums, and squared errors per model.

    Feature by feature, so that W_dec is read once while a thread's rows of g stay in its cache. A
    thread's entries of a feature end where `transpose` left `position`, and begin where the thread
    before ends.
    """
    models = error.shape[1]
    d = x.shape[1] // models
    g_b_dec[thread, :] = 0
    error[thread, :] = 0
    for b in range(start, stop):
        for j in range(x.shape[1]):
            g[b, j] = b_dec[j] - x[b, j]
    for k in range(W_dec.shape[0]):
        first = position[thread - 1, k] if thread else pointer[k]
        for i in range(first, position[thread, k]):
            b, value = rows[i], f[i]
            for j in range(x.shape[1]):
                g[b, j] += value * W_dec[k, j]
    for b in range(start, stop):
        for m in range(models):
            square = np.float32(0)
            for j in range(m * d, (m + 1) * d):
                square += g[b, j] * g[b, j]
            error[thread, m] += square
        for j in range(x.shape[1]):
            g[b, j] *= scale
            g_b_dec[thread, j] += g[b, j]


@jit
def sparsity_gradient(k, W_dec, models, c, g_dec):
    """g_dec[k] = c W_dec[k]^i / |W_dec[k]^i|_2 for each model i; returns the sum of the norms."""
    d = W_dec.shape[1] // models
    total = np.float32(0)
    for m in range(models):
        square = np.float32(0)
        for j in range(m * d, (m + 1) * d):
            square += W_dec[k, j] * W_dec[k, j]
        norm = np.sqrt(square)
        total += norm
        share = c / norm if norm > 0 else np.float32(0)
        for j in range(m * d, (m + 1) * d):
            g_dec[k, j] = share * W_dec[k, j]
    return total


@jit
def square_of(matrix, k):
    """Squared norm of a row."""
    square = np.float32(0)
    for j in range(matrix.shape[1]):
        square += matrix[k, j] * matrix[k, j]
    return square


@jit
def backward(
    thread,
    start,
    stop,
    pointer,
    rows,
    f,
    df,
    W_dec,
    x,
    g,
    beta,
    models,
    g_dec,
    g_enc,
    g_b_enc,
    sums,
):
    """Gradients of features [start, stop); `sums` [d_sparse, 2]: sparsity, squared gradient norm.

    `beta` is the sparsity weight over the batch size. Rows of silent features are left as they
    are: whoever reads them asks `pointer` first. First all sums over g, then all over x: one of the
    two at a time stays in the cache.
    """
    for k in range(start, stop):
        first, last = pointer[k], pointer[k + 1]
        sums[k, :] = 0
        g_b_enc[k] = 0
        if first == last:
            continue
        total = np.float32(0)
        for i in range(first, last):
            total += f[i]
        norms = sparsity_gradient(k, W_dec, models, beta * total, g_dec)
        gather_and_dot(g_dec, k, f, rows, first, last, g, W_dec, df)
        bias = np.float32(0)
        for i in range(first, last):
            df[i] += beta * norms
            bias += df[i]
        g_b_enc[k] = bias
        sums[k, 0] = norms * total
        sums[k, 1] = bias * bias + square_of(g_dec, k)
    for k in range(start, stop):
        first, last = pointer[k], pointer[k + 1]
        if first == last:
            continue
        for j in range(g_enc.shape[1]):
            g_enc[k, j] = 0
        gather(g_enc, k, df, rows, first, last, x)
        sums[k, 1] += square_of(g_enc, k)


@jit
def round_row(matrix, k, low, norms):
    """low[k] = matrix[k] in bfloat16, as bits; norms[k], if it has rows, the row's norm and that of
    what rounding took from it."""
    for j in range(matrix.shape[1]):
        u = np.float32(matrix[k, j]).view(np.uint32)
        odd = (u >> np.uint32(16)) & np.uint32(1)  # round to even, as PyTorch does
        low[k, j] = np.uint16((u + np.uint32(0x7FFF) + odd) >> np.uint32(16))
    if norms.shape[0]:
        square = lost = np.float32(0)
        for j in range(matrix.shape[1]):
            back = np.uint32(np.uint32(low[k, j]) << np.uint32(16)).view(np.float32)
            square += matrix[k, j] * matrix[k, j]
            lost += (matrix[k, j] - back) * (matrix[k, j] - back)
        norms[k, 0] = np.sqrt(square)
        norms[k, 1] = np.sqrt(lost)


@jit
def adam(thread, start, stop, pointer, w, m, v, g, low, norms, clip, rate, beta1, beta2, root, eps):
    """Adam on rows [start, stop) of w with the gradient clip * g.

    `rate` is the learning rate over the first moment's bias correction, `root` one over the square
    root of the second's. A silent feature's gradient is zero and is not read. If `low` has rows,
    they take w as in `round_row`.
    """
    one = np.float32(1)
    for k in range(start, stop):
        if pointer[k] == pointer[k + 1]:
            for j in range(w.shape[1]):
                m[k, j] *= beta1
                v[k, j] *= beta2
                w[k, j] -= rate * m[k, j] / (np.sqrt(v[k, j]) * root + eps)
        else:
            for j in range(w.shape[1]):
                s = clip * g[k, j]
                m[k, j] = beta1 * m[k, j] + (one - beta1) * s
                v[k, j] = beta2 * v[k, j] + (one - beta2) * s * s
                w[k, j] -= rate * m[k, j] / (np.sqrt(v[k, j]) * root + eps)
        if low.shape[0]:
            round_row(w, k, low, norms)
