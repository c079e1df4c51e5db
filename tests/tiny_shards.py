"""Activation shards with given content, for tests."""

from pathlib import Path

import numpy as np
import torch

from crosslens.activations.shard_writer import Origin, RowMetadata, write_shard


def make_shard(
    path: Path,
    activations: torch.Tensor,
    *,
    shard: str = "0",
    corpus_hash: str = "c",
    layer: int = 1,
    tokens: np.ndarray | None = None,
    mask: list[int] | None = None,
    variant: str | None = None,
) -> Path:
    """Write given activations [rows, d_model] as a shard, of the directory's name by default."""
    rows = len(activations)
    zeros = np.zeros(rows, dtype=np.uint32)
    kept = np.ones(rows, dtype=np.uint8) if mask is None else np.array(mask, dtype=np.uint8)
    norms = activations.norm(dim=1).numpy()[kept == 1]
    metadata = RowMetadata(
        np.arange(rows, dtype=np.uint32) if tokens is None else tokens,
        zeros.astype(np.uint16),
        zeros + np.arange(rows, dtype=np.uint32) // 10,
        kept,
        float(norms.mean()),
    )
    with write_shard(path, *activations.shape, what="activations") as writer:
        writer.put(np.arange(rows, dtype=np.uint32), activations)
        writer.finish()
        origin = Origin(variant or path.parent.name, shard, layer, 0, "m", corpus_hash)
        writer.write_metadata(metadata, origin)
    return path
