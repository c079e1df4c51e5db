"""The sparse step on a CPU: Numba kernels over ranges of rows or features, run by a few threads.

Weights, gradients and moments are matrices [d_sparse, D] with D = n_models * d_model: one feature
is one contiguous row. Every sum runs in a fixed order within one thread, so a step gives the same
bits each time; gradients do not depend on the number of threads either.
"""

import numpy as np
from numba import njit

# No `nnan` or `ninf`: a diverged run must be seen. Machine code is kept beside this file.
jit = njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})


@jit
def compress(thread, start, stop, bits, values, begin, end, columns, f, counts):
    """Positive entries of rows [start, stop) of the pre-activations: their features and values.

    `bits` are the pre-activations as signed integers, whose sign tells what ReLU keeps. A thread
    writes one stretch of `columns` and `f`, from start * d_sparse on, and counts its features.
    """
    width = bits.shape[1]
    z = start * width
    counts[thread, :] = 0
    for b in range(start, stop):
        begin[b] = z
        row = bits[b]
        for k in range(width):
            columns[z] = k
            z += row[k] > 0
        end[b] = z
        for i in range(begin[b], z):
            f[i] = values[b, columns[i]]
            counts[thread, columns[i]] += 1


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
def decode(thread, start, stop, begin, end, columns, f, W_dec, b_dec, x, scale, g, g_b_dec, error):
    """g = scale * (x_hat - x) for rows [start, stop); their sums, and squared errors per model."""
    models = error.shape[1]
    d = x.shape[1] // models
    sums = g_b_dec[thread]
    sums[:] = 0
    error[thread, :] = 0
    for b in range(start, stop):
        r = g[b]
        xb = x[b]
        for j in range(r.shape[0]):
            r[j] = b_dec[j] - xb[j]
        for i in range(begin[b], end[b]):
            v = f[i]
            w = W_dec[columns[i]]
            for j in range(r.shape[0]):
                r[j] += v * w[j]
        for m in range(models):
            square = np.float32(0)
            for j in range(m * d, (m + 1) * d):
                square += r[j] * r[j]
            error[thread, m] += square
        for j in range(r.shape[0]):
            r[j] *= scale
            sums[j] += r[j]


@jit
def backward(
    thread, start, stop, pointer, rows, f, W_dec, x, g, beta, models, g_dec, g_enc, g_b_enc, sums
):
    """Gradients of features [start, stop); `sums` [d_sparse, 2]: sparsity, squared norm.

    `beta` is the sparsity weight over the batch size. Rows of silent features are left as they
    are: whoever reads them asks `pointer` first.
    """
    d = W_dec.shape[1] // models
    norms = np.empty(models, dtype=np.float32)
    for k in range(start, stop):
        sums[k, 0] = 0
        sums[k, 1] = 0
        g_b_enc[k] = 0
        first, last = pointer[k], pointer[k + 1]
        if first == last:
            continue
        w, to_dec, to_enc = W_dec[k], g_dec[k], g_enc[k]
        total = np.float32(0)
        for i in range(first, last):
            total += f[i]
        weight = np.float32(0)
        for m in range(models):
            square = np.float32(0)
            for j in range(m * d, (m + 1) * d):
                square += w[j] * w[j]
            norms[m] = np.sqrt(square)
            weight += norms[m]
            c = beta * total / norms[m] if norms[m] > 0 else np.float32(0)
            for j in range(m * d, (m + 1) * d):
                to_dec[j] = c * w[j]
        for j in range(w.shape[0]):
            to_enc[j] = 0
        bias = np.float32(0)
        for i in range(first, last):
            v = f[i]
            gb, xb = g[rows[i]], x[rows[i]]
            df = np.float32(0)
            for j in range(w.shape[0]):
                df += gb[j] * w[j]
            df += beta * weight
            bias += df
            for j in range(w.shape[0]):
                to_dec[j] += v * gb[j]
                to_enc[j] += df * xb[j]
        g_b_enc[k] = bias
        square = np.float32(0)
        for j in range(w.shape[0]):
            square += to_dec[j] * to_dec[j] + to_enc[j] * to_enc[j]
        sums[k, 0] = weight * total
        sums[k, 1] = square + bias * bias


@jit
def adam(thread, start, stop, pointer, w, m, v, g, low, clip, rate, b1, b2, root, eps):
    """Adam on rows [start, stop) of w with gradients clip * g, and w rounded to bfloat16 in `low`.

    `rate` is the learning rate over its bias correction, `root` that of the second moment. A silent
    feature's gradient is zero and is not read.
    """
    one = np.float32(1)
    for k in range(start, stop):
        wk, mk, vk, gk = w[k], m[k], v[k], g[k]
        if pointer[k] == pointer[k + 1]:
            for j in range(wk.shape[0]):
                mk[j] *= b1
                vk[j] *= b2
                wk[j] -= rate * mk[j] / (np.sqrt(vk[j]) * root + eps)
        else:
            for j in range(wk.shape[0]):
                s = clip * gk[j]
                mk[j] = b1 * mk[j] + (one - b1) * s
                vk[j] = b2 * vk[j] + (one - b2) * s * s
                wk[j] -= rate * mk[j] / (np.sqrt(vk[j]) * root + eps)
