"""Extract the residual stream after L layers with a forward pass that stops there."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt16, UInt32

from crosslens.activations.shard_writer import RowMetadata, ShardWriter
from crosslens.data.corpus import distinct
from crosslens.io.errors import InputError
from crosslens.io.progress import track
from crosslens.models.batching import batches
from crosslens.models.decoder import truncate
from crosslens.models.loading import load_config, load_network

if TYPE_CHECKING:
    from transformers import PretrainedConfig

MIDDLE = "middle"


def layer_index(config: "PretrainedConfig", layer: str | int) -> int:
    """Return L of "the residual stream after L layers", the input of layer L.

    In transformers this is `hidden_states[L]`. "middle" is num_hidden_layers // 2. Raises
    InputError when L is not within 1 ... num_hidden_layers - 1, or when the configuration has no
    num_hidden_layers, as for models of text and images.
    """
    layers = getattr(config, "num_hidden_layers", None)
    if layers is None:
        raise InputError(
            f"{config.model_type}: config.json has no num_hidden_layers, so this is not a "
            "text-only model. Give its text model."
        )
    index = layers // 2 if layer == MIDDLE else int(layer)
    if not 1 <= index < layers:
        raise InputError(
            f"activations.layer: {layer} is out of range for a model of {layers} layers. "
            f"Choose 1 to {layers - 1}, or middle."
        )
    return index


def load_truncated(
    path: Path, layer: str | int, dtype: torch.dtype | None = None
) -> tuple[torch.nn.Module, int]:
    """Load a model up to the layer, without head and final norm; return it and the layer's index.

    Raises InputError naming the directory when the checkpoint cannot be loaded, or when its decoder
    layers cannot be found.
    """
    from crosslens.models.transformers_light import AutoModel

    config = load_config(path)
    index = layer_index(config, layer)
    config.num_hidden_layers = index  # the other layers are not even read
    model = load_network(path, AutoModel, config, dtype)
    initialize_mkl_kernels()
    return truncate(model, index), index


def initialize_mkl_kernels() -> None:
    """Call cosine and sine once on a single thread.

    MKL 2024.2 selects the kernel of a function at its first call. When several threads made that
    call, some rotary embeddings were wrong by 1e-4 in one process of thirty (PyTorch issue 188792).
    """
    for function in (torch.cos, torch.sin):
        function(torch.ones(1))


@torch.inference_mode()
def residual_stream(
    model: torch.nn.Module,
    input_ids: Int[torch.Tensor, "b t"],
    attention_mask: Shaped[torch.Tensor, "b t"] | Shaped[torch.Tensor, "b 1 t t"] | None = None,
    **inputs: Shaped[torch.Tensor, "..."],
) -> Float[torch.Tensor, "b t d"]:
    """Return the activations of a truncated model, equal to the full model's hidden_states[L].

    `attention_mask` [b, t] marks tokens; a mask [b, 1, t, t] is added to the attention scores.
    `inputs` are further arguments of the model, such as position_ids.
    Without a mask all positions are attended to. transformers then gets a mask of ones: without
    one it builds a t x t mask for packed documents, and SDPA cannot use its fused causal kernel.
    """
    if attention_mask is None:
        attention_mask = torch.ones_like(input_ids)
    return model(
        input_ids=input_ids, attention_mask=attention_mask, use_cache=False, **inputs
    ).last_hidden_state


class Extracted(NamedTuple):
    """Per-row metadata of a shard, and counts of written, skipped and masked tokens."""

    rows: RowMetadata
    counts: dict[str, int | str]


def extract(
    model: torch.nn.Module,
    rows: UInt32[np.ndarray, "n t"],
    writer: ShardWriter,
    *,
    variant: str,
    shard: str,
    seed: int,
    batch_size: int,
    skip_positions: int,
    sink_threshold: float,
) -> Extracted:
    """Write the activations of a shard's token ids in random order.

    The first `skip_positions` positions of each sequence are skipped. The permutation depends on
    seed and shard only, so that all variants share it. Attention sinks (`sink_mask`) are masked but
    keep their place. Rows are written while the next batch is computed; memory per token is about
    30 bytes for its id, place and norm.

    Documents packed into one sequence attend to each other, as in pretraining: the mask is only
    causal, so that SDPA's fused kernels apply.

    Raises InputError when all activations are zero, and the errors of `writer`.
    """
    order = permutation(seed, shard, count_activations(rows, skip_positions))
    place = inverse_permutation(order)
    done = 0
    groups = list(batches(rows, batch_size))
    for group in track(groups, f"extracting {variant}, shard {shard}", unit="batches"):
        ids = torch.from_numpy(group.astype(np.int64)).to(model.device)
        x = residual_stream(model, ids)[:, skip_positions:].flatten(0, 1)
        writer.put(place[done : done + len(x)], x)
        done += len(x)
    norms = writer.finish()
    if not norms.any():
        raise InputError(
            f"{variant}, shard {shard}: all activations are zero. Check the model's weights."
        )
    mask = sink_mask(norms, sink_threshold)
    tokens, positions, sequences = row_origins(rows, order, skip_positions)
    return Extracted(
        RowMetadata(tokens, positions, sequences, mask.astype(np.uint8), float(norms[mask].mean())),
        shard_counts(rows, tokens, norms, mask),
    )


def sink_mask(
    norms: Float[np.ndarray, " activations"], sink_threshold: float
) -> Bool[np.ndarray, " activations"]:
    """Return which activations are not attention sinks: norm at most `sink_threshold`
    x the median."""
    return norms <= sink_threshold * np.median(norms)


def count_activations(rows: UInt32[np.ndarray, "n t"], skip_positions: int) -> int:
    """Return the number of activations that a shard of `rows` has."""
    return len(rows) * (rows.shape[1] - skip_positions)


def row_origins(
    rows: UInt32[np.ndarray, "n t"], order: UInt32[np.ndarray, " activations"], skip_positions: int
) -> tuple[
    UInt32[np.ndarray, " activations"],
    UInt16[np.ndarray, " activations"],
    UInt32[np.ndarray, " activations"],
]:
    """Return token, position and sequence of every activation in file order."""
    sequences, positions = np.divmod(order, np.uint32(rows.shape[1] - skip_positions))
    positions += np.uint32(skip_positions)
    return rows[sequences, positions], positions.astype(np.uint16), sequences


def shard_counts(
    rows: UInt32[np.ndarray, "n t"],
    tokens: UInt32[np.ndarray, " activations"],
    norms: Float[np.ndarray, " activations"],
    mask: Bool[np.ndarray, " activations"],
) -> dict[str, int | str]:
    """Count what happened to a shard's tokens, for data-path.json; `mask` is true where kept."""
    return {
        "tokens_requested": rows.size,
        "rows_written": len(tokens),
        "dropped_positions": rows.size - len(tokens),
        "sequences": len(rows),
        "distinct_sequences": len(distinct(rows)),
        "zero_rows": int((norms == 0).sum()),
        "masked_rows": int((~mask).sum()),
        "token_hash": hashlib.sha256(tokens.tobytes()).hexdigest(),
    }


def permutation(seed: int, shard: str, count: int) -> UInt32[np.ndarray, " count"]:
    """Return the order in which a shard's activations are written."""
    key = int.from_bytes(hashlib.sha256(f"{seed} {shard}".encode()).digest()[:8], "big")
    return np.random.default_rng(key).permutation(count).astype(np.uint32)


def inverse_permutation(order: UInt32[np.ndarray, " count"]) -> UInt32[np.ndarray, " count"]:
    """Return each activation's position in the file."""
    place = np.empty_like(order)
    place[order] = np.arange(len(order), dtype=np.uint32)
    return place
