"""The residual stream after L layers, the forward pass stopped there."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt32
from safetensors import SafetensorError

from crosslens.activations.shard_writer import Rows, ShardWriter
from crosslens.data.corpus import batches, distinct
from crosslens.io.errors import InputError
from crosslens.io.progress import track

if TYPE_CHECKING:
    from transformers import PretrainedConfig

MIDDLE = "middle"


def layer_index(config: "PretrainedConfig", layer: str | int) -> int:
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
    from crosslens.models.transformers_light import AutoConfig, AutoModel

    try:
        config = AutoConfig.from_pretrained(path)
        index = layer_index(config, layer)
        config.num_hidden_layers = index  # the others are not even read
        model, info = AutoModel.from_pretrained(
            path,
            config=config,
            dtype=torch.bfloat16 if torch.cuda.is_available() else torch.float32,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: this checkpoint does not load: {reason}") from error
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])  # transformers would fill them with random numbers
        raise InputError(f"{path}: {len(missing)} weights are missing, the first is {missing[0]}")
    choose_kernels()
    return truncate(model, index).to("cuda" if torch.cuda.is_available() else "cpu"), index


def choose_kernels() -> None:
    """Call cosine and sine once on one thread: MKL 2024.2 chooses a function's kernel when it is
    first called, and on several threads at once some rotary embeddings came out wrong by 1e-4 in
    one process of thirty (PyTorch's issue 188792)."""
    for function in (torch.cos, torch.sin):
        function(torch.ones(1))


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
    """Activations of a truncated model, equal to the full model's hidden_states[L].

    Without a mask every position counts. transformers is told so by a mask of ones: given none it
    builds one of size t x t, in case documents were packed, and SDPA's fused causal kernel is lost.
    """
    if attention_mask is None:
        attention_mask = torch.ones_like(input_ids)
    return model(
        input_ids=input_ids, attention_mask=attention_mask, use_cache=False
    ).last_hidden_state


class Extracted(NamedTuple):
    """What was found of a shard's rows, and what became of the corpus's tokens."""

    rows: Rows
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
    """Write the activations of a shard's rows but for the first positions of each, permuted.

    The permutation depends on seed and shard only, so it is the same for every variant. Rows whose
    norm exceeds `sink_threshold` medians are masked, not moved. Every row goes to its place in the
    file while the next batch is computed; what is held of a token is about 30 bytes, whatever
    d_model: its id, its place, its norm.

    Documents packed into one row see each other, as in pretraining: the mask is causal, nothing
    else, so that SDPA's fused kernels apply.

    Raises InputError when every activation is zero, and what `writer` raises.
    """
    order = permutation(seed, shard, count_rows(rows, skip_positions))
    place = inverse(order)
    done = 0
    groups = list(batches(rows, batch_size))
    for group in track(groups, f"extracting {variant}, shard {shard}", unit="batches"):
        ids = torch.from_numpy(group.astype(np.int64)).to(model.device)
        x = residual_stream(model, ids)[:, skip_positions:].flatten(0, 1)
        writer.put(place[done : done + len(x)], x)
        done += len(x)
    norms = writer.finish()
    if not norms.any():
        raise InputError(f"activations of {variant}, shard {shard}: all are zero")
    mask = norms <= sink_threshold * np.median(norms)
    tokens, positions, sequences = described(rows, order, skip_positions)
    return Extracted(
        Rows(tokens, positions, sequences, mask.astype(np.uint8), float(norms[mask].mean())),
        count_tokens(rows, tokens, norms, mask),
    )


def count_rows(rows: np.ndarray, skip_positions: int) -> int:
    """How many activations a shard of `rows` [sequences, length] has."""
    return len(rows) * (rows.shape[1] - skip_positions)


def described(
    rows: np.ndarray, order: np.ndarray, skip_positions: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Token, position and sequence of every activation in the order of the file.

    uint32, uint16 and uint32, each [activations], from `rows` [sequences, length].
    """
    sequences, positions = np.divmod(order, np.uint32(rows.shape[1] - skip_positions))
    positions += np.uint32(skip_positions)
    return rows[sequences, positions], positions.astype(np.uint16), sequences


def count_tokens(
    rows: np.ndarray, tokens: np.ndarray, norms: np.ndarray, mask: np.ndarray
) -> dict[str, int | str]:
    """What became of a shard's tokens; written beside it, and summed into data-path.json.

    `rows` are [sequences, length]; `tokens`, `norms` and `mask` (true where kept) [activations].
    """
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
    """The order in which a shard's rows are written."""
    key = int.from_bytes(hashlib.sha256(f"{seed} {shard}".encode()).digest()[:8], "big")
    return np.random.default_rng(key).permutation(count).astype(np.uint32)


def inverse(order: UInt32[np.ndarray, " count"]) -> UInt32[np.ndarray, " count"]:
    """Where each row goes."""
    place = np.empty_like(order)
    place[order] = np.arange(len(order), dtype=np.uint32)
    return place
