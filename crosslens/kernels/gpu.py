"""The sparse step's inner loops on a GPU, in Triton; without a GPU they run in its interpreter.

The layout is that of `cpu`. The entries of row b lie in one stretch of d_sparse places, those of
feature k in one of the batch size: no prefix sum, no capacity, nothing the host must know. A
program sums in a fixed order and writes what is its own: no atomics, the same bits each time.
"""

import triton
import triton.language as tl


@triton.jit
def compress_rows(pre, columns, f, lengths, d_sparse, BLOCK: tl.constexpr):
    """Positive entries of one row of the pre-activations: their features and values."""
    b = tl.program_id(0).to(tl.int64)
    found = 0
    for start in range(0, d_sparse, BLOCK):
        k = start + tl.arange(0, BLOCK)
        value = tl.load(pre + b * d_sparse + k, mask=k < d_sparse, other=0.0).to(tl.float32)
        keep = value > 0
        place = b * d_sparse + found + tl.cumsum(keep.to(tl.int32), 0) - 1
        tl.store(columns + place, k, mask=keep)
        tl.store(f + place, value, mask=keep)
        found += tl.sum(keep.to(tl.int32), 0)
    tl.store(lengths + b, found)


@triton.jit
def compress_features(
    pre, rows, f, lengths, size, d_sparse, ROWS: tl.constexpr, FEATURES: tl.constexpr
):
    """The same entries of some neighbouring features, each in the order of rows."""
    k = (tl.program_id(0) * FEATURES + tl.arange(0, FEATURES)).to(tl.int64)
    found = tl.zeros([FEATURES], dtype=tl.int32)
    for start in range(0, size, ROWS):
        b = start + tl.arange(0, ROWS)
        inside = (b < size)[:, None] & (k < d_sparse)[None, :]
        value = tl.load(pre + b[:, None] * d_sparse + k[None, :], mask=inside, other=0.0)
        value = value.to(tl.float32)
        keep = value > 0
        place = (k * size + found)[None, :] + tl.cumsum(keep.to(tl.int32), 0) - 1
        tl.store(rows + place, b[:, None] + tl.zeros_like(place).to(tl.int32), mask=keep)
        tl.store(f + place, value, mask=keep)
        found += tl.sum(keep.to(tl.int32), 0)
    tl.store(lengths + k, found, mask=k < d_sparse)


@triton.jit
def decode(
    columns, f, lengths, W_dec, b_dec, x, g, error, scale, d_sparse, d,
    ENTRIES: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """g = scale * (x_hat - x) of one row, one model and one chunk of d_model; its squared error."""
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
def feature_dots(
    rows, f, lengths, W_dec, g, df, g_b_enc, norms, sparsity, beta, size, d,
    MODELS: tl.constexpr, ENTRIES: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Of one feature: df at its entries, the gradient of its bias, its decoders' norms."""
    k = tl.program_id(0).to(tl.int64)
    length = tl.load(lengths + k)
    if length > 0:
        D = MODELS * d
        both = 0.0
        for m in range(MODELS):
            square = tl.zeros([CHUNK], dtype=tl.float32)
            for start in range(0, d, CHUNK):
                j = start + tl.arange(0, CHUNK)
                w = tl.load(W_dec + k * D + m * d + j, mask=j < d, other=0.0)
                square += w * w
            norm = tl.sqrt(tl.sum(square, 0))
            tl.store(norms + k * MODELS + m, norm)
            both += norm
        total, bias = 0.0, 0.0
        for first in range(0, length, ENTRIES):
            i = first + tl.arange(0, ENTRIES)
            b = tl.load(rows + k * size + i, mask=i < length, other=0).to(tl.int64)
            total += tl.sum(tl.load(f + k * size + i, mask=i < length, other=0.0), 0)
            dots = tl.zeros([ENTRIES], dtype=tl.float32)
            for start in range(0, D, CHUNK):
                j = start + tl.arange(0, CHUNK)
                w = tl.load(W_dec + k * D + j, mask=j < D, other=0.0)
                rest = tl.load(g + b[:, None] * D + j[None, :], mask=(j < D)[None, :], other=0.0)
                dots += tl.sum(rest * w[None, :], 1)
            dots = tl.where(i < length, dots + beta * both, 0.0)
            tl.store(df + k * size + i, dots, mask=i < length)
            bias += tl.sum(dots, 0)
        tl.store(g_b_enc + k, bias)
        tl.store(sparsity + k, both * total)
    else:
        tl.store(g_b_enc + k, 0.0)
        tl.store(sparsity + k, 0.0)


@triton.jit
def feature_gradients(
    rows, f, df, lengths, W_dec, x, g, norms, g_dec, g_enc, squares, beta, size, d,
    MODELS: tl.constexpr, ENTRIES: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Gradients of one feature's decoder and encoder, one model and one chunk of d_model."""
    k, m, c = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    place = (k * MODELS + m) * tl.num_programs(2) + c
    length = tl.load(lengths + k)
    if length > 0:
        D = MODELS * d
        j = c * CHUNK + tl.arange(0, CHUNK)
        inside = j < d
        j += m * d
        to_dec = tl.zeros([CHUNK], dtype=tl.float32)
        to_enc = tl.zeros([CHUNK], dtype=tl.float32)
        total = 0.0
        for first in range(0, length, ENTRIES):
            i = first + tl.arange(0, ENTRIES)
            b = tl.load(rows + k * size + i, mask=i < length, other=0).to(tl.int64)
            value = tl.load(f + k * size + i, mask=i < length, other=0.0)
            dot = tl.load(df + k * size + i, mask=i < length, other=0.0)
            here = b[:, None] * D + j[None, :]
            to_dec += tl.sum(value[:, None] * tl.load(g + here, mask=inside[None, :], other=0.0), 0)
            to_enc += tl.sum(dot[:, None] * tl.load(x + here, mask=inside[None, :], other=0.0), 0)
            total += tl.sum(value, 0)
        norm = tl.load(norms + k * MODELS + m)
        share = tl.where(norm > 0, beta * total / tl.where(norm > 0, norm, 1.0), 0.0)
        to_dec += share * tl.load(W_dec + k * D + j, mask=inside, other=0.0)
        tl.store(g_dec + k * D + j, to_dec, mask=inside)
        tl.store(g_enc + k * D + j, to_enc, mask=inside)
        tl.store(squares + place, tl.sum(to_dec * to_dec + to_enc * to_enc, 0))
    else:
        tl.store(squares + place, 0.0)


@triton.jit
def adam(
    lengths, w, m, v, g, low, clip, rate, beta1, beta2, root, eps, width,
    SILENT: tl.constexpr, LOW: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Adam on one chunk of a row of w with the gradient clip * g; w rounded to `low`.

    Scalars as in `cpu.adam`, `clip` in the device's memory. With SILENT, the gradient of a row
    without entries is zero and is not read.
    """
    k = tl.program_id(0).to(tl.int64)
    j = tl.program_id(1) * CHUNK + tl.arange(0, CHUNK)
    inside = j < width
    here = k * width + j
    read = inside
    if SILENT:
        read = inside & (tl.load(lengths + k) > 0)
    s = tl.load(clip) * tl.load(g + here, mask=read, other=0.0)
    first = beta1 * tl.load(m + here, mask=inside, other=0.0) + (1 - beta1) * s
    second = beta2 * tl.load(v + here, mask=inside, other=0.0) + (1 - beta2) * s * s
    new = tl.load(w + here, mask=inside, other=0.0)
    new -= rate * first / (tl.sqrt(second) * root + eps)
    tl.store(m + here, first, mask=inside)
    tl.store(v + here, second, mask=inside)
    tl.store(w + here, new, mask=inside)
    if LOW:
        tl.store(low + here, new.to(tl.bfloat16), mask=inside)
