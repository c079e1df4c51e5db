"""Make one pass over held-out rows with fixed weights, shared by all measurements on them.

A `Collector` takes every batch. It mostly needs only the nonzeros of f, so memory and time grow
with L0, not with d_sparse. Sums over rows are float64. The same rows give the same bits on one
device: no sum depends on the order in which threads finish.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int

from crosslens.activations.shard_reader import ShardReader
from crosslens.crosscoder.inputs import view
from crosslens.crosscoder.model import Crosscoder
from crosslens.io.errors import InputError


class Entries(NamedTuple):
    """The nonzeros of a batch's f in the order of features, then rows."""

    rows: Int[torch.Tensor, " z"]
    features: Int[torch.Tensor, " z"]
    values: Float[torch.Tensor, " z"]

    @classmethod
    def of(cls, f: Float[torch.Tensor, "b k"]) -> "Entries":
        """Find the nonzeros of f."""
        rows, features = f.nonzero(as_tuple=True)
        order = torch.argsort(features, stable=True)
        rows, features = rows[order], features[order]
        return cls(rows, features, f[rows, features])

    def by_row(self) -> "Entries":
        """Return the same entries in the order of rows, then features."""
        order = torch.argsort(self.rows, stable=True)
        return Entries(*(part[order] for part in self))


class Batch(NamedTuple):
    """Scaled held-out rows, their code and its reconstruction."""

    x: Float[torch.Tensor, "b n d"]
    f: Float[torch.Tensor, "b k"]
    entries: Entries
    x_hat: Float[torch.Tensor, "b n d"]
    sequences: Int[torch.Tensor, " b"]  # the sequence of the corpus that each row is from


@runtime_checkable
class Collector(Protocol):
    """Collect sums over the batches of a pass."""

    def add(self, batch: Batch) -> None:
        """Add one batch."""


def group_sums(
    groups: Int[torch.Tensor, " z"],
    count: int,
    members: Int[torch.Tensor, " z"],
    weights: Float[torch.Tensor, " z"],
    matrix: Float[torch.Tensor, "m w"],
) -> Float[torch.Tensor, "g w"]:
    """Return the sum of weights[i] * matrix[members[i]] over the entries i of each group.

    `groups` is sorted; of the `count` groups, those without entries are zero.
    """
    offsets = torch.searchsorted(groups, torch.arange(count, device=groups.device))
    return torch.nn.functional.embedding_bag(
        members, matrix, offsets, mode="sum", per_sample_weights=weights
    )


def feature_sums(
    entries: Entries, values: Float[torch.Tensor, "z w"], d_sparse: int
) -> Float[torch.Tensor, "k w"]:
    """Return, for each feature, the sum of its rows of `values`, which has a row per entry."""
    one = torch.ones(len(values), dtype=values.dtype, device=values.device)
    every = torch.arange(len(values), device=values.device)
    return group_sums(entries.features, d_sparse, every, one, values)


def reconstruct(
    crosscoder: Crosscoder, entries: Entries, rows: int
) -> Float[torch.Tensor, "b n d"]:
    """Return `crosscoder.decode(f)` for f with `rows` rows, from the nonzeros of f."""
    by_row = entries.by_row()
    W_dec = rearrange(crosscoder.W_dec, "n k d -> k (n d)")
    flat = group_sums(by_row.rows, rows, by_row.features, by_row.values, W_dec)
    return rearrange(flat, "b (n d) -> b n d", n=len(crosscoder.W_dec)) + crosscoder.b_dec


class Quality(NamedTuple):
    """The quality of a crosscoder on held-out activations.

    `fve` is the FVE of each model, `fve_difference` that of each later model's difference from the
    first, in the models' own units; None where nothing varies. `loss` (Eqs. 3, 7) is a mean over
    rows.
    """

    fve: dict[str, float | None]
    fve_difference: dict[str, float | None]
    l0: float
    loss: float
    rate: Float[torch.Tensor, " k"]  # fraction of rows on which each feature fires
    rows: int

    def record(self, alive_threshold: float, metadata: dict[str, Any]) -> dict[str, Any]:
        """Return the numbers of quality.json; `tokens_seen` counts a token once for each pass.

        A feature whose firing rate exceeds `alive_threshold` is alive.
        """
        alive = int((self.rate > alive_threshold).sum())
        return {
            "fve": self.fve,
            "fve_difference": self.fve_difference,
            "l0": self.l0,
            "loss": self.loss,
            "alive": alive,
            "dead_share": 1 - alive / len(self.rate),
            "tokens_seen": metadata["tokens_seen"],
            "distinct_tokens": metadata["distinct_tokens"],
            "heldout_rows": self.rows,
        }


class QualitySums:
    """Collect FVE, L0, loss and firing rates.

    FVE is 1 - |x - x_hat|^2 / |x - mean|^2, both summed over rows; the mean is over all rows.
    """

    def __init__(self, crosscoder: Crosscoder, beta: float) -> None:
        self.models, self.beta = crosscoder.models, beta
        self.scales = crosscoder.scales.double()
        self.norms = crosscoder.decoder_norms()
        n, k, d = crosscoder.W_dec.shape
        parts, device = 2 * n - 1, crosscoder.scales.device
        self.error, self.square = torch.zeros(2, parts, dtype=torch.float64, device=device)
        self.total = torch.zeros(parts, d, dtype=torch.float64, device=device)
        self.fired = torch.zeros(k, dtype=torch.int64, device=device)
        self.sparsity, self.rows = 0.0, 0

    def add(self, batch: Batch) -> None:
        """Add a batch's sums."""
        x, error = self.with_differences(batch.x), self.with_differences(batch.x - batch.x_hat)
        self.error += error.square().sum(dim=(0, 2))
        self.square += x.square().sum(dim=(0, 2))
        self.total += x.sum(dim=0)
        self.fired += torch.bincount(batch.entries.features, minlength=len(self.fired))
        self.sparsity += (batch.entries.values @ self.norms[batch.entries.features]).item()
        self.rows += len(x)

    def with_differences(self, x: Float[torch.Tensor, "b n d"]) -> Float[torch.Tensor, "b p d"]:
        """Append the differences of the models from the first, in their own units."""
        raw = x.double() / self.scales[:, None]
        return torch.cat([x.double(), raw[:, 1:] - raw[:, :1]], dim=1)

    def quality(self) -> Quality:
        """Return the quality on the rows added so far."""
        n = len(self.models)
        variance = self.square - self.total.square().sum(dim=1) / self.rows
        explained = torch.where(variance > 0, 1 - self.error / variance, torch.nan)
        fve = [None if math.isnan(value) else value for value in explained.tolist()]
        loss = (self.error[:n].sum().item() + self.beta * self.sparsity) / self.rows
        return Quality(
            dict(zip(self.models, fve, strict=False)),
            dict(zip(self.models[1:], fve[n:], strict=True)),
            self.fired.sum().item() / self.rows,
            loss,
            (self.fired.double() / self.rows).float().cpu(),
            self.rows,
        )


def scaled_batches(
    crosscoder: Crosscoder, reader: ShardReader, batch_size: int
) -> Iterator[tuple[Int[np.ndarray, " b"], Float[torch.Tensor, "b n d"]]]:
    """Yield row numbers and the crosscoder's inputs on its device, batch by batch.

    Raises InputError when no row is kept.
    """
    if not reader.kept:
        raise InputError(
            f"{reader.paths[0]}: every token of the held-out shard is masked in at least one "
            "model. Raise activations.sink_threshold."
        )
    kind, shard = crosscoder.metadata.get("inputs", "activations"), reader.attribute("shard")[0]
    to_inputs = view(kind, shard, crosscoder.scales)
    for rows, raw in reader.numbered_batches(batch_size):
        yield rows, to_inputs(raw.to(crosscoder.scales.device), rows)


@torch.inference_mode()
def read_heldout(
    crosscoder: Crosscoder,
    reader: ShardReader,
    batch_size: int,
    collectors: Sequence[Collector],
) -> None:
    """Encode every kept held-out row once and hand it to all collectors, on the weights' device.

    Raises InputError when no row is kept.
    """
    for rows, x in scaled_batches(crosscoder, reader, batch_size):
        f = crosscoder.encode(x)
        entries = Entries.of(f)
        sequences = torch.from_numpy(reader.sequences[rows]).to(x.device)
        batch = Batch(x, f, entries, reconstruct(crosscoder, entries, len(x)), sequences)
        for collector in collectors:
            collector.add(batch)


def evaluate(
    crosscoder: Crosscoder,
    reader: ShardReader,
    batch_size: int,
    beta: float,
    collectors: Sequence[Collector] = (),
) -> Quality:
    """Measure a crosscoder's quality on every kept held-out row, in one pass with `collectors`.

    Raises InputError when no row is kept.
    """
    quality = QualitySums(crosscoder, beta)
    read_heldout(crosscoder, reader, batch_size, [quality, *collectors])
    return quality.quality()
