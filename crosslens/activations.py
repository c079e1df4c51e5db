"""The residual stream after L layers, the forward pass stopped there."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt32
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, PretrainedConfig

from crosslens.corpus import batches, distinct
from crosslens.errors import InputError
from crosslens.progress import track
from crosslens.shards import Extracted

MIDDLE = "middle"


def layer_index(config: PretrainedConfig, layer: str | int) -> int:
    """L of "the residual stream after L layers", the input of layer L (transformers'
    `hidden_states[L]`); "middle" is num_hidden_layers // 2.

    Raises InputError when L is not within 1 ... num_hidden_layers - 1.
    """
    index = config.num_hidden_layers // 2 if layer == MIDDLE else layer
    if not 1 <= index < config.num_hidden_layers:
        raise InputError(
            f"activations.layer: {layer} is out of range for a model of "
            f"{config.num_hidden_layers} layers: use middle or 1 to {config.num_hidden_layers - 1}"
        )
    return index


def load_truncated(path: Path, layer: str | int) -> tuple[torch.nn.Module, int]:
    """A model cut after the layer, without head and final norm, and the layer's index.

    Raises InputError naming the directory when the checkpoint does not load.
    """
    try:
        index = layer_index(AutoConfig.from_pretrained(path), layer)
        dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
        model, info = AutoModel.from_pretrained(path, dtype=dtype, output_loading_info=True)
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: this checkpoint does not load: {reason}") from error
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])  # transformers would fill them with random numbers
        raise InputError(f"{path}: {len(missing)} weights are missing, the first is {missing[0]}")
    return truncate(model, index).to("cuda" if torch.cuda.is_available() else "cpu"), index


def truncate(model: torch.nn.Module, layer: int) -> torch.nn.Module:
    """Drop, in place, the layers from `layer` on and the final norm."""
    model.layers = model.layers[:layer]
    model.config.num_hidden_layers = layer
    model.norm = torch.nn.Identity()
    return model.eval()


@torch.inference_mode()
def residual_stream(
    model: torch.nn.Module,
    input_ids: Int[torch.Tensor, "b t"],
    attention_mask: Int[torch.Tensor, "b t"] | None = None,
) -> Float[torch.Tensor, "b t d"]:
    """Activations of a truncated model, equal to the full model's hidden_states[L]."""
    return model(
        input_ids=input_ids, attention_mask=attention_mask, use_cache=False
    ).last_hidden_state


def extract(
    model: torch.nn.Module,
    rows: UInt32[np.ndarray, "n t"],
    *,
    variant: str,
    shard: str,
    seed: int,
    batch_size: int,
    skip_positions: int,
    sink_threshold: float,
) -> Extracted:
    """Activations of a shard's rows but for the first positions of each, permuted.

    The permutation depends on seed and shard only, so it is the same for every variant. Rows whose
    norm exceeds `sink_threshold` medians are masked, not moved. One shard is held in memory: its
    rows go straight to their places.

    Raises InputError when an activation is not finite.
    """
    kept = rows[:, skip_positions:]
    order = permutation(seed, shard, kept.size)
    place = np.argsort(order)
    activations = np.empty((kept.size, model.config.hidden_size), dtype=np.uint16)
    norms = np.empty(kept.size, dtype=np.float32)
    done = 0
    groups = list(batches(rows, batch_size))
    for group in track(groups, f"extracting {variant}, shard {shard}", unit="batches"):
        ids = torch.from_numpy(group.astype(np.int64)).to(model.device)
        x = residual_stream(model, ids)[:, skip_positions:].flatten(0, 1)
        check_finite(x, variant, shard)
        where = place[done : done + len(x)]
        activations[where] = x.bfloat16().view(torch.uint16).cpu().numpy()
        norms[where] = x.float().norm(dim=1).cpu().numpy()
        done += len(x)
    mask = norms <= sink_threshold * np.median(norms)
    tokens = kept.flatten()[order]
    positions = np.tile(np.arange(skip_positions, rows.shape[1], dtype=np.uint16), len(rows))
    sequences = np.repeat(np.arange(len(rows), dtype=np.uint32), kept.shape[1])
    return Extracted(
        activations,
        tokens,
        positions[order],
        sequences[order],
        mask.astype(np.uint8),
        float(norms[mask].mean()),
        count_tokens(rows, tokens, norms, mask),
    )


def count_tokens(
    rows: np.ndarray, tokens: np.ndarray, norms: np.ndarray, mask: np.ndarray
) -> dict[str, int | str]:
    """What became of a shard's tokens; written beside it, and summed into data-path.json."""
    return {
        "tokens_requested": rows.size,
        "tokens_seen": len(tokens),
        "dropped_positions": rows.size - len(tokens),
        "sequences": len(rows),
        "distinct_sequences": len(distinct(rows)),
        "zero_rows": int((norms == 0).sum()),
        "masked_rows": int((~mask).sum()),
        "token_hash": hashlib.sha256(tokens.tobytes()).hexdigest(),
    }


def permutation(seed: int, shard: str, count: int) -> np.ndarray:
    """The order in which a shard's rows are written."""
    key = int.from_bytes(hashlib.sha256(f"{seed} {shard}".encode()).digest()[:8], "big")
    return np.random.default_rng(key).permutation(count)


def check_finite(x: torch.Tensor, variant: str, shard: str) -> None:
    """Raise InputError when a row holds a NaN or an infinity."""
    bad = int((~torch.isfinite(x)).any(dim=1).sum())
    if bad:
        raise InputError(
            f"activations of {variant}, shard {shard}: {bad} of {len(x)} rows hold NaN or infinite "
            "values: the checkpoint is damaged or overflows in this dtype"
        )
