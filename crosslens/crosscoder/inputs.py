"""Make the inputs of a crosscoder: its models' activations, or a control made from them.

- activations: one slot for each model, scaled.
- swapped: the same, but each row's models are permuted among the slots at random. Rows differ as
  much as before, but a slot no longer stands for a model: specificity to a slot is due to chance.
- noise: every model but the first is replaced by the first plus noise. In each row the noise is as
  long as the true difference: an unstructured change of the same size.
- self: every model is replaced by the first. No feature can be specific to a model.
- differences: one slot for two models, the second's activation minus the first's. A crosscoder of
  this one slot is a sparse autoencoder of what training changed.

Random choices depend only on the shard and on the row's number in it, not on the batch.
"""

import hashlib
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int

from crosslens.activations.shard_reader import ShardReader

SAMPLED = 1 << 17  # rows by which the scale of differences is set
Rows = Int[np.ndarray, " b"]
View = Callable[[Float[torch.Tensor, "b n d"], Rows], Float[torch.Tensor, "b m d"]]


def slots(kind: str, models: list[str]) -> list[str]:
    """Return the names of a crosscoder's slots."""
    return ["-".join(models[::-1])] if kind == "differences" else models


def scales_of(kind: str, reader: ShardReader, batch_size: int) -> Float[torch.Tensor, " m"]:
    """Return what each slot is multiplied by, so that its mean norm is sqrt(d_model)."""
    if kind == "self":
        return reader.scales[:1].repeat(len(reader.scales))
    if kind != "differences":
        return reader.scales
    total, rows = 0.0, 0
    for _, raw in reader.numbered_batches(batch_size):
        total += difference(raw).norm(dim=2).sum().item()
        rows += len(raw)
        if rows >= SAMPLED:
            break
    return torch.tensor([reader.d_model**0.5 * rows / total])


def difference(raw: Float[torch.Tensor, "b 2 d"]) -> Float[torch.Tensor, "b 1 d"]:
    """Return the second model's activation minus the first's."""
    return raw[:, 1:] - raw[:, :1]


def view(kind: str, shard: str, scales: Float[torch.Tensor, " m"]) -> View:
    """Return a function that makes inputs from a batch of raw activations and its row numbers.

    The function may change the batch in place.
    """
    factors = scales[:, None]
    if kind == "differences":
        return lambda raw, rows: difference(raw).mul_(factors)
    if kind == "self":
        return lambda raw, rows: raw[:, :1] * factors
    if kind == "swapped":
        return lambda raw, rows: swapped(raw.mul_(factors), shard, rows)
    if kind == "noise":
        return lambda raw, rows: noised(raw.mul_(factors), shard, rows)
    return lambda raw, rows: raw.mul_(factors)


def row_bits(
    shard: str, rows: Rows, count: int, device: torch.device | str = "cpu"
) -> Int[torch.Tensor, "b count"]:
    """Return `count` x 64 random bits for every row, by splitmix64 of the shard and row number.

    Products wrap around.
    """
    key = int.from_bytes(hashlib.sha256(shard.encode()).digest()[:8], "big", signed=True)
    index = torch.from_numpy(rows.astype(np.int64)).to(device)[:, None] * count
    z = (index + torch.arange(count, device=device)) * signed(0x9E3779B97F4A7C15) + key
    z = (z ^ shifted(z, 30)) * signed(0xBF58476D1CE4E5B9)
    z = (z ^ shifted(z, 27)) * signed(0x94D049BB133111EB)
    return z ^ shifted(z, 31)


def signed(bits: int) -> int:
    """Return the int64 of the same 64 bits."""
    return bits - (1 << 64) if bits >> 63 else bits


def shifted(z: Int[torch.Tensor, "*s"], places: int) -> Int[torch.Tensor, "*s"]:
    """Shift to the right and fill with zeros, as unsigned numbers are."""
    return (z >> places) & ((1 << (64 - places)) - 1)


def swapped(
    x: Float[torch.Tensor, "b n d"], shard: str, rows: Rows
) -> Float[torch.Tensor, "b n d"]:
    """Return each row's models in a random order; all orders are equally likely."""
    order = row_bits(shard, rows, x.shape[1], x.device).argsort(dim=1)
    return x.take_along_dim(order[:, :, None], dim=1)


def noised(x: Float[torch.Tensor, "b n d"], shard: str, rows: Rows) -> Float[torch.Tensor, "b n d"]:
    """Replace every model but the first by the first plus Gaussian noise.

    In each row, the noise is as long as the difference between the two models.
    """
    b, n, d = x.shape
    uniform = (shifted(row_bits(shard, rows, (n - 1) * d, x.device), 41) + 0.5) * 2.0**-23
    noise = torch.erfinv(2 * uniform - 1).reshape(b, n - 1, d).to(x.dtype)
    lengths = (x[:, 1:] - x[:, :1]).norm(dim=2, keepdim=True)
    noise *= lengths / noise.norm(dim=2, keepdim=True)
    return torch.cat([x[:, :1], x[:, :1] + noise], dim=1)
