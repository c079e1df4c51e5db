"""Select the entries that BatchTopK keeps on a GPU, as `selection_cpu` does, in Triton.

Entries have the layout of `gpu`. The threshold is found digit by digit, four bits at a time, by
counting. Counts are integers, so the order in which programs add to them does not matter. The host
never waits.
"""

import torch
import triton
import triton.language as tl
from jaxtyping import Float

DIGITS, BASE = 8, 16  # of a float's 32 bits
BOUND = 0.75  # fraction of a batch's threshold above which the next one is expected
BLOCK = 128  # entries of a row that a program reads together


@triton.jit
def digits_so_far(counts, keep, done, BASE: tl.constexpr):
    """Return the threshold's first `done` digits, and its rank among entries that begin so."""
    d = tl.arange(0, BASE)
    prefix, left = 0, keep
    for q in range(done):
        here = tl.load(counts + q * BASE + d)
        above = tl.sum(here, 0) - tl.cumsum(here, 0)
        digit = (above < left) & (above + here >= left)
        prefix = prefix * BASE + tl.sum(tl.where(digit, d, 0), 0)
        left -= tl.sum(tl.where(digit, above, 0), 0)
    return prefix, left


@triton.jit
def ranked(columns, f, norms, start, length, d_sparse, BLOCK: tl.constexpr):
    """Return some entries of a row: whether they exist, features, values and f_k n_k."""
    b = tl.program_id(0).to(tl.int64)
    i = start + tl.arange(0, BLOCK)
    here = i < length
    k = tl.load(columns + b * d_sparse + i, mask=here, other=0)
    value = tl.load(f + b * d_sparse + i, mask=here, other=0.0)
    return here, k, value, value * tl.load(norms + k, mask=here, other=0.0)


@triton.jit
def count_digits(
    columns, f, lengths, norms, counts, keep, done, d_sparse,
    DIGITS: tl.constexpr, BASE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Count the next digit of a row's entries that begin with the threshold's first digits."""
    prefix = digits_so_far(counts, keep, done, BASE)[0]
    length = tl.load(lengths + tl.program_id(0))
    d = tl.arange(0, BASE)
    shift = 4 * (DIGITS - 1 - done)
    total = tl.zeros([BASE], dtype=tl.int32)
    for start in range(0, length, BLOCK):
        here, _, _, v = ranked(columns, f, norms, start, length, d_sparse, BLOCK)
        first = v.to(tl.int32, bitcast=True) >> shift
        here &= (first >> 4) == prefix
        same = here[:, None] & ((first & (BASE - 1))[:, None] == d[None, :])
        total += tl.sum(same.to(tl.int32), 0)
    tl.atomic_add(counts + done * BASE + d, total, mask=total > 0)


@triton.jit
def find_threshold(
    counts, threshold, bound, ties, n_entries, keep, fraction,
    DIGITS: tl.constexpr, BASE: tl.constexpr,
):  # fmt: skip
    """Set the threshold, the next batch's bound, and how many entries of this value are kept.

    If at most `keep` entries were found, all positive ones are kept.
    """
    bits, left = digits_so_far(counts, keep, DIGITS, BASE)
    enough = tl.load(n_entries) > keep
    value = bits.to(tl.float32, bitcast=True)
    tl.store(threshold, tl.where(enough, value, 0.0))
    tl.store(bound, tl.where(enough, fraction * value, 0.0))
    tl.store(ties, tl.where(enough, left, 0))


@triton.jit
def count_ties(
    columns, f, lengths, norms, threshold, ties, d_sparse, BLOCK: tl.constexpr
):  # fmt: skip
    """Count the entries of a row that have the threshold's value."""
    b = tl.program_id(0)
    length, value = tl.load(lengths + b), tl.load(threshold)
    total = 0
    for start in range(0, length, BLOCK):
        here, _, _, v = ranked(columns, f, norms, start, length, d_sparse, BLOCK)
        total += tl.sum((here & (v == value)).to(tl.int32), 0)
    tl.store(ties + b, total)


@triton.jit
def keep_rows(
    columns, f, lengths, norms, threshold, ties, allowed, last, d_sparse, BLOCK: tl.constexpr
):  # fmt: skip
    """Keep a row's entries above the threshold, and the first `allowed` ones of its value.

    `ties` are cumulative sums over rows of the entries of this value. `last` receives the position
    in the batch of the last one that is kept.
    """
    b = tl.program_id(0).to(tl.int64)
    length, value, limit = tl.load(lengths + b), tl.load(threshold), tl.load(allowed)
    passed = tl.load(ties + b - 1, mask=b > 0, other=0)
    written = 0
    for start in range(0, length, BLOCK):
        here, k, entry, v = ranked(columns, f, norms, start, length, d_sparse, BLOCK)
        tied = here & (v == value)
        rank = passed + tl.cumsum(tied.to(tl.int32), 0)
        passed += tl.sum(tied.to(tl.int32), 0)
        tl.store(last + tl.zeros_like(k), b * d_sparse + k, mask=tied & (rank == limit))
        kept = (here & (v > value)) | (tied & (rank <= limit))
        place = b * d_sparse + written + tl.cumsum(kept.to(tl.int32), 0) - 1
        tl.store(columns + place, k, mask=kept)
        tl.store(f + place, entry, mask=kept)
        written += tl.sum(kept.to(tl.int32), 0)
    tl.store(lengths + b, written)


class Selection:
    """Workspace on the device. The bound saves time and is checked, as on a CPU."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.grid = (size,)
        self.bound, self.threshold = torch.zeros(2, 1, device=device)
        self.zero = torch.zeros(1, device=device)
        self.allowed = torch.zeros(1, dtype=torch.int32, device=device)
        self.last = torch.zeros(1, dtype=torch.int64, device=device)
        self.ties = torch.zeros(size, dtype=torch.int32, device=device)

    def select(
        self, by_row: tuple[torch.Tensor, ...], norms: Float[torch.Tensor, " k"], keep: int
    ) -> None:
        """Keep the `keep` largest entries of `by_row`: features, values, lengths."""
        columns, f, lengths = by_row
        d_sparse = len(norms)
        counts = torch.zeros(DIGITS * BASE, dtype=torch.int32, device=f.device)
        for done in range(DIGITS):
            count_digits[self.grid](
                columns, f, lengths, norms, counts, keep, done, d_sparse, DIGITS, BASE, BLOCK
            )
        n_entries = lengths.sum()
        find_threshold[(1,)](
            counts, self.threshold, self.bound, self.allowed, n_entries, keep, BOUND, DIGITS, BASE
        )
        count_ties[self.grid](
            columns, f, lengths, norms, self.threshold, self.ties, d_sparse, BLOCK
        )
        ties = self.ties.cumsum(0, dtype=torch.int32)
        keep_rows[self.grid](
            columns, f, lengths, norms, self.threshold, ties, self.allowed, self.last, d_sparse,
            BLOCK,
        )  # fmt: skip
