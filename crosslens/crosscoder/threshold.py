"""Set the threshold that replaces BatchTopK outside of training, where there is no batch.

A feature fires where f_k n_k > theta. theta is the exact quantile of f_k n_k over the held-out rows
that leaves the wanted number of features per row. Values are counted by their bits, in which
positive floats have the same order.
"""

from pathlib import Path

import torch
from jaxtyping import Float, Int

from crosslens.activations.shard_reader import ShardReader
from crosslens.config.sections import CrosscoderConfig
from crosslens.crosscoder.heldout import scaled_batches
from crosslens.crosscoder.model import Crosscoder
from crosslens.io.records import read_json

BLOCKS, BLOCK = 1 << 12, 1 << 11  # together the float32 numbers of one octave
SMALLEST = 2.0**-100  # of a first guess


class Counts:
    """Count each float within half an octave of `centre`, and all larger ones together."""

    def __init__(self, centre: float, device: torch.device) -> None:
        self.lowest = int(torch.tensor(centre, dtype=torch.float32).view(torch.int32))
        self.lowest -= BLOCKS * BLOCK // 2
        self.counts = torch.zeros(BLOCKS * BLOCK, dtype=torch.int32, device=device)
        self.above = self.positive = 0

    def add(self, v: Float[torch.Tensor, "*s"]) -> None:
        """Count some values."""
        self.positive += int((v > 0).sum())
        places = v.flatten().view(torch.int32) - self.lowest
        places = places[places >= 0]
        inside = places[places < len(self.counts)]
        self.counts.index_add_(0, inside, torch.ones_like(inside))
        self.above += len(places) - len(inside)

    def below_largest(self, wanted: int) -> float | None:
        """Return the largest float that at least `wanted` values exceed; None if it is outside."""
        blocks = self.counts.view(BLOCKS, BLOCK)
        block, passed = last_with(blocks.sum(dim=1), wanted - self.above)
        if self.above >= wanted or block < 0:
            return None
        place, _ = last_with(blocks[block], wanted - self.above - passed)
        bits = self.lowest + block * BLOCK + place
        return torch.tensor(bits - 1, dtype=torch.int32).view(torch.float32).item()


def last_with(counts: Int[torch.Tensor, " z"], wanted: int) -> tuple[int, int]:
    """Return the last index i with sum(counts[i:]) >= `wanted`, and sum(counts[i + 1:]).

    The index is -1 if all counts sum to less.
    """
    from_end = counts.flip(0).cumsum(0, dtype=torch.int64)
    steps = int(torch.searchsorted(from_end, wanted))
    if steps == len(counts):
        return -1, 0
    return len(counts) - 1 - steps, int(from_end[steps - 1]) if steps else 0


def set_threshold(
    crosscoder: Crosscoder, reader: ShardReader, settings: CrosscoderConfig, reference: Path | None
) -> None:
    """Set a BatchTopK crosscoder's threshold so that it has the wanted L0 on held-out rows.

    That L0 is the one in `reference`, the quality.json of another crosscoder, or `batch_topk.k`.
    """
    if crosscoder.metadata["activation"] == "batch_topk":
        l0 = float(read_json(reference)["l0"] if reference else settings.batch_topk.k)
        threshold = calibrate(crosscoder, reader, settings.batch_size, l0)
        crosscoder.metadata["threshold"] = threshold


@torch.inference_mode()
def calibrate(crosscoder: Crosscoder, reader: ShardReader, batch_size: int, l0: float) -> float:
    """Return the threshold above which `l0` features fire per held-out row, on average.

    The result is exact except for ties of equal floats. It is zero if at most `l0` features are
    positive. This takes one pass, unless the quantile is far from that of the first batch. Raises
    InputError when no row is kept.
    """
    norms = crosscoder.decoder_norms()
    centre = 0.0
    while True:
        rows = 0
        counts: Counts | None = None
        for _, x in scaled_batches(crosscoder, reader, batch_size):
            v = crosscoder.encode_positive(x) * norms
            centre = centre or max(largest(v, round(l0 * len(v))), SMALLEST)
            counts = counts or Counts(centre, v.device)
            counts.add(v)
            rows += len(v)
        wanted = max(1, round(l0 * rows))
        below = counts.below_largest(wanted) if counts else None
        if counts is None or below is not None or counts.positive <= wanted:
            return below or 0.0
        centre *= 2 if counts.above >= wanted else 1 / 2


def largest(v: Float[torch.Tensor, "b k"], count: int) -> float:
    """Return the largest value that at least `count` values reach."""
    place = v.numel() - min(max(1, count), v.numel()) + 1
    return v.flatten().kthvalue(place).values.item()
