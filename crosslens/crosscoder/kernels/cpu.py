"""Compute gradients and Adam's update on a CPU, in Numba, over ranges of rows or features.

Weights, gradients and moments are matrices [d_sparse, D] with D = n_models * d_model: one feature
is one contiguous row. Every sum has a fixed order within one thread, so that a step always gives
the same bits. Loops process four entries at a time: their rows are loaded together, and sums are
loaded and stored once.
"""

import numpy as np
from numba import njit

# Without `nnan` and `ninf`, as a diverged run must be detected.
jit = njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})


@jit
def gather(out, k, weights, indices, first, last, matrix):
    """Add to out[k] the sum of weights[i] * matrix[indices[i]] over i in [first, last)."""
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
    """Set dots[i] = matrix[indices[i]] . W[k] for i in [first, last)."""
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
    """Do what `gather` and `row_dots` do in one pass, so that each row is loaded once."""
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
    """Set g = scale * (x_hat - x) for rows [start, stop), its sums, and squared errors per model.

    Features are the outer loop: W_dec is read once, and a thread's rows of g stay in its cache. A
    thread's entries of a feature end at `position`, as `transpose` left it. They begin where those
    of the previous thread end.
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
            squares = np.float32(0)
            for j in range(m * d, (m + 1) * d):
                squares += g[b, j] * g[b, j]
            error[thread, m] += squares
        for j in range(x.shape[1]):
            g[b, j] *= scale
            g_b_dec[thread, j] += g[b, j]


@jit
def sparsity_gradient(k, W_dec, models, c, g_dec):
    """Set g_dec[k] = c W_dec[k]^i / |W_dec[k]^i|_2 for each model i; return the sum of norms."""
    d = W_dec.shape[1] // models
    total = np.float32(0)
    for m in range(models):
        square = np.float32(0)
        for j in range(m * d, (m + 1) * d):
            square += W_dec[k, j] * W_dec[k, j]
        norm = np.sqrt(square)
        total += norm
        factor = c / norm if norm > 0 else np.float32(0)
        for j in range(m * d, (m + 1) * d):
            g_dec[k, j] = factor * W_dec[k, j]
    return total


@jit
def row_norm_sq(matrix, k):
    """Return the squared norm of a row."""
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
    """Compute the gradients of features [start, stop).

    `sums` [d_sparse, 2] receives each feature's sparsity and its squared gradient norm. `beta` is
    the sparsity weight over the batch size. Gradient rows of inactive features are not written;
    `pointer` marks them. All sums over g come before all sums over x, as only one of the two fits
    into the cache.
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
        sums[k, 1] = bias * bias + row_norm_sq(g_dec, k)
    for k in range(start, stop):
        first, last = pointer[k], pointer[k + 1]
        if first == last:
            continue
        for j in range(g_enc.shape[1]):
            g_enc[k, j] = 0
        gather(g_enc, k, df, rows, first, last, x)
        sums[k, 1] += row_norm_sq(g_enc, k)


@jit
def round_row(matrix, k, rounded, norms):
    """Set rounded[k] to the bits of matrix[k] in bfloat16.

    If `norms` has rows, norms[k] receives the norm of the row and that of its rounding error.
    """
    for j in range(matrix.shape[1]):
        u = np.float32(matrix[k, j]).view(np.uint32)
        odd = (u >> np.uint32(16)) & np.uint32(1)  # round half to even, as PyTorch does
        rounded[k, j] = np.uint16((u + np.uint32(0x7FFF) + odd) >> np.uint32(16))
    if norms.shape[0]:
        square = lost = np.float32(0)
        for j in range(matrix.shape[1]):
            back = np.uint32(np.uint32(rounded[k, j]) << np.uint32(16)).view(np.float32)
            square += matrix[k, j] * matrix[k, j]
            lost += (matrix[k, j] - back) * (matrix[k, j] - back)
        norms[k, 0] = np.sqrt(square)
        norms[k, 1] = np.sqrt(lost)


@jit
def adam(
    thread,
    start,
    stop,
    pointer,
    w,
    m,
    v,
    g,
    rounded,
    norms,
    clip,
    rate,
    beta1,
    beta2,
    inv_sqrt_bias2,
    eps,
):
    """Apply Adam to rows [start, stop) of w with the gradient clip * g.

    `rate` is the learning rate over the first moment's bias correction. `inv_sqrt_bias2` is
    the inverse square root of the second moment's. The gradient of an inactive feature is zero and
    is not read. If `rounded` has rows, w is also rounded to it (see `round_row`).
    """
    one = np.float32(1)
    for k in range(start, stop):
        if pointer[k] == pointer[k + 1]:
            for j in range(w.shape[1]):
                m[k, j] *= beta1
                v[k, j] *= beta2
                w[k, j] -= rate * m[k, j] / (np.sqrt(v[k, j]) * inv_sqrt_bias2 + eps)
        else:
            for j in range(w.shape[1]):
                s = clip * g[k, j]
                m[k, j] = beta1 * m[k, j] + (one - beta1) * s
                v[k, j] = beta2 * v[k, j] + (one - beta2) * s * s
                w[k, j] -= rate * m[k, j] / (np.sqrt(v[k, j]) * inv_sqrt_bias2 + eps)
        if rounded.shape[0]:
            round_row(w, k, rounded, norms)
