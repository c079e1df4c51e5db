"""Compute the sparse step on a GPU, in Triton; without a GPU this runs in Triton's interpreter.

Matrices have the layout of `cpu`. Each row has space for d_sparse entries, and each feature has
space for one entry per row of the batch. So no prefix sum or capacity is needed, and the host never
waits for a count. Each program sums in a fixed order and writes its own results without atomics, so
a step always gives the same bits.
"""

import triton
import triton.language as tl


@triton.jit
def compress_rows(
    pre, columns, f, lengths, d_sparse, norms, bound, n_entries, wanted, BLOCK: tl.constexpr
):
    """Write features and values of the positive entries in one row of the pre-activations.

    With `norms`, only entries with f_k n_k above the bound; with `n_entries`, only if it is less
    than `wanted`.
    """
    needed = True
    if n_entries is not None:
        needed = tl.load(n_entries) < wanted
    if needed:
        b = tl.program_id(0).to(tl.int64)
        count = 0
        for start in range(0, d_sparse, BLOCK):
            k = start + tl.arange(0, BLOCK)
            value = tl.load(pre + b * d_sparse + k, mask=k < d_sparse, other=0.0).to(tl.float32)
            keep = value > 0
            if norms is not None:
                v = value * tl.load(norms + k, mask=k < d_sparse, other=0.0)
                keep &= v > tl.load(bound)
            place = b * d_sparse + count + tl.cumsum(keep.to(tl.int32), 0) - 1
            tl.store(columns + place, k, mask=keep)
            tl.store(f + place, value, mask=keep)
            count += tl.sum(keep.to(tl.int32), 0)
        tl.store(lengths + b, count)


@triton.jit
def compress_features(
    pre, rows, f, lengths, size, d_sparse, norms, threshold, last,
    ROWS: tl.constexpr, FEATURES: tl.constexpr,
):  # fmt: skip
    """Write the same entries of some adjacent features, each in the order of rows.

    With `norms`, only entries with f_k n_k above the threshold, or equal to it up to the position
    `last` in the batch.
    """
    k = (tl.program_id(0) * FEATURES + tl.arange(0, FEATURES)).to(tl.int64)
    count = tl.zeros([FEATURES], dtype=tl.int32)
    for start in range(0, size, ROWS):
        b = start + tl.arange(0, ROWS)
        inside = (b < size)[:, None] & (k < d_sparse)[None, :]
        value = tl.load(pre + b[:, None] * d_sparse + k[None, :], mask=inside, other=0.0)
        value = value.to(tl.float32)
        keep = value > 0
        if norms is not None:
            v = value * tl.load(norms + k, mask=k < d_sparse, other=0.0)[None, :]
            level = tl.load(threshold)
            early = b[:, None].to(tl.int64) * d_sparse + k[None, :] <= tl.load(last)
            keep &= (v > level) | ((v == level) & early)
        place = (k * size + count)[None, :] + tl.cumsum(keep.to(tl.int32), 0) - 1
        tl.store(rows + place, b[:, None] + tl.zeros_like(place).to(tl.int32), mask=keep)
        tl.store(f + place, value, mask=keep)
        count += tl.sum(keep.to(tl.int32), 0)
    tl.store(lengths + k, count, mask=k < d_sparse)


@triton.jit
def decode(
    columns, f, lengths, W_dec, b_dec, x, g, error, scale, d_sparse, d,
    ENTRIES: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Set g = scale * (x_hat - x) of a row, a model and a chunk of d_model, and its error."""
    b, m, c = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    models, chunks = tl.num_programs(1), tl.num_programs(2)
    D = models * d
    j = c * CHUNK + tl.arange(0, CHUNK)
    inside = j < d
    j += m * d
    total = tl.load(b_dec + j, mask=inside, other=0.0)
    total -= tl.load(x + b * D + j, mask=inside, other=0.0)
    length = tl.load(lengths + b)
    for start in range(0, length, ENTRIES):
        i = start + tl.arange(0, ENTRIES)
        k = tl.load(columns + b * d_sparse + i, mask=i < length, other=0).to(tl.int64)
        value = tl.load(f + b * d_sparse + i, mask=i < length, other=0.0)
        w = tl.load(W_dec + k[:, None] * D + j[None, :], mask=inside[None, :], other=0.0)
        total += tl.sum(value[:, None] * w, 0)
    tl.store(error + (b * models + m) * chunks + c, tl.sum(total * total, 0))
    tl.store(g + b * D + j, scale * total, mask=inside)


@triton.jit
def load_entry(i, length, rows, factors, source, D, j, inside):
    """Return factor and row of `source` at columns j for a feature's entry i, or zeros past it."""
    here = i < length
    b = tl.load(rows + i, mask=here, other=0).to(tl.int64)
    factor = tl.load(factors + i, mask=here, other=0.0)
    return factor, tl.load(source + b * D + j, mask=inside & here, other=0.0).to(tl.float32)


@triton.jit
def sum_rows(
    length, rows, factors, source, D, j, inside, ENTRIES: tl.constexpr, CHUNK: tl.constexpr
):
    """Return the sum of factor * row over a feature's entries, at columns j.

    Entries are added one by one with fused products, so that all kernels get the same bits.
    """
    total = tl.zeros([CHUNK], dtype=tl.float32)
    for start in range(0, length, ENTRIES):
        for i in tl.static_range(ENTRIES):
            factor, row = load_entry(start + i, length, rows, factors, source, D, j, inside)
            total = tl.fma(factor, row, total)
    return total


@triton.jit
def decoder_gradients(
    rows, f, lengths, W_dec, g, dots, norms, shares, g_dec, squares, beta, size, d,
    RECOMPUTE_MAX: tl.constexpr, ROW: tl.constexpr,
):  # fmt: skip
    """Compute g . W_dec, the decoder's norm and its gradient's square for a feature and model.

    Decoder and gradient stay in registers, so that W_dec and each row of g are read once; two rows
    are loaded together. The sparsity's gradient is `shares` times the decoder. The gradient is
    stored only for features with more than RECOMPUTE_MAX entries.
    """
    k, m = tl.program_id(0).to(tl.int64), tl.program_id(1)
    models = tl.num_programs(1)
    place = k * models + m
    length = tl.load(lengths + k)
    if length > 0:
        D = models * d
        j = tl.arange(0, ROW)
        inside = j < d
        j += m * d
        w = tl.load(W_dec + k * D + j, mask=inside, other=0.0)
        rows, f = rows + k * size, f + k * size
        dots += (m * tl.num_programs(0) + k) * size
        total = 0.0
        to_dec = tl.zeros([ROW], dtype=tl.float32)
        for i in range(0, length, 2):
            one, row = load_entry(i, length, rows, f, g, D, j, inside)
            two, next_row = load_entry(i + 1, length, rows, f, g, D, j, inside)
            tl.store(dots + i, tl.sum(row * w, 0))
            tl.store(dots + i + 1, tl.sum(next_row * w, 0), mask=i + 1 < length)
            to_dec = tl.fma(two, next_row, tl.fma(one, row, to_dec))
            total += one + two
        norm = tl.sqrt(tl.sum(w * w, 0))
        share = tl.where(norm > 0, beta * total / tl.where(norm > 0, norm, 1.0), 0.0)
        to_dec = tl.fma(share, w, to_dec)
        tl.store(norms + place, norm)
        tl.store(shares + place, share)
        tl.store(squares + place, tl.sum(to_dec * to_dec, 0))
        if length > RECOMPUTE_MAX:
            tl.store(g_dec + k * D + j, to_dec, mask=inside)
    else:
        tl.store(squares + place, 0.0)


@triton.jit
def feature_sums(
    f, lengths, dots, norms, df, g_b_enc, sparsity, beta, size,
    MODELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute a feature's df, the gradient of its bias, and its sparsity."""
    k, d_sparse = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    length = tl.load(lengths + k)
    norm, bias, total = 0.0, 0.0, 0.0
    for m in tl.static_range(MODELS):
        norm += tl.load(norms + k * MODELS + m, mask=length > 0, other=0.0)
    for start in range(0, length, BLOCK):
        i = start + tl.arange(0, BLOCK)
        here = i < length
        gradient = tl.where(here, beta * norm, 0.0)
        for m in tl.static_range(MODELS):
            gradient += tl.load(dots + (m * d_sparse + k) * size + i, mask=here, other=0.0)
        tl.store(df + k * size + i, gradient, mask=here)
        bias += tl.sum(gradient, 0)
        total += tl.sum(tl.load(f + k * size + i, mask=here, other=0.0), 0)
    tl.store(g_b_enc + k, bias)
    tl.store(sparsity + k, norm * total)


@triton.jit
def encoder_gradients(
    rows, df, lengths, x, g_enc, squares, size, D,
    RECOMPUTE_MAX: tl.constexpr, ENTRIES: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Compute a chunk of the gradient of a feature's encoder, and its square.

    The gradient is stored as in `decoder_gradients`.
    """
    k, c = tl.program_id(0).to(tl.int64), tl.program_id(1)
    j = c * CHUNK + tl.arange(0, CHUNK)
    inside = j < D
    length = tl.load(lengths + k)
    to_enc = sum_rows(length, rows + k * size, df + k * size, x, D, j, inside, ENTRIES, CHUNK)
    if length > RECOMPUTE_MAX:
        tl.store(g_enc + k * D + j, to_enc, mask=inside)
    tl.store(squares + k * tl.num_programs(1) + c, tl.sum(to_enc * to_enc, 0))


@triton.jit
def adam_update(weight, s, w, m, v, rounded, here, inside, rate, beta1, beta2, inv_sqrt_bias2, eps):
    """Apply Adam with the gradient s to the weights at `here`, whose old values are `weight`."""
    first = beta1 * tl.load(m + here, mask=inside, other=0.0) + (1 - beta1) * s
    second = beta2 * tl.load(v + here, mask=inside, other=0.0) + (1 - beta2) * s * s
    weight -= rate * first / (tl.sqrt(second) * inv_sqrt_bias2 + eps)
    tl.store(m + here, first, mask=inside)
    tl.store(v + here, second, mask=inside)
    tl.store(w + here, weight, mask=inside)
    if rounded is not None:
        tl.store(rounded + here, weight.to(tl.bfloat16), mask=inside)


@triton.jit
def adam(
    w, m, v, g, rounded, clip, rate, beta1, beta2, inv_sqrt_bias2, eps, length, CHUNK: tl.constexpr,
):  # fmt: skip
    """Apply Adam to a chunk of w with the gradient clip * g, and round w to `rounded`.

    Scalars are those of `cpu.adam`, with `clip` in the device's memory.
    """
    here = tl.program_id(0).to(tl.int64) * CHUNK + tl.arange(0, CHUNK)
    inside = here < length
    s = tl.load(clip) * tl.load(g + here, mask=inside, other=0.0)
    weight = tl.load(w + here, mask=inside, other=0.0)
    adam_update(weight, s, w, m, v, rounded, here, inside, rate, beta1, beta2, inv_sqrt_bias2, eps)


@triton.jit
def adam_of_features(
    w, m, v, g, rounded, clip, rate, beta1, beta2, inv_sqrt_bias2, eps,
    lengths, rows, factors, source, shares, size, d,
    MODELS: tl.constexpr, RECOMPUTE_MAX: tl.constexpr, ENTRIES: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Apply Adam to a chunk of a feature's row of w.

    A gradient that was not stored is computed again from `factors` and `source`.
    """
    k = tl.program_id(0).to(tl.int64)
    D = MODELS * d
    j = tl.program_id(1) * CHUNK + tl.arange(0, CHUNK)
    inside = j < D
    here = k * D + j
    length = tl.load(lengths + k)
    weight = tl.load(w + here, mask=inside, other=0.0)
    if length > RECOMPUTE_MAX:
        total = tl.load(g + here, mask=inside, other=0.0)
    else:
        rows, factors = rows + k * size, factors + k * size
        total = sum_rows(length, rows, factors, source, D, j, inside, ENTRIES, CHUNK)
        if shares is not None:
            of_model = shares + k * MODELS + j // d
            share = tl.load(of_model, mask=inside & (length > 0), other=0.0)
            total = tl.fma(share, weight, total)
    s = tl.load(clip) * total
    adam_update(weight, s, w, m, v, rounded, here, inside, rate, beta1, beta2, inv_sqrt_bias2, eps)
