"""Extraction in bfloat16 on a random model of Qwen3-4B's shape, against the bare truncated pass.

Half of the 36 layers are built, on the device. The reduced form has two thin layers.
"""

import tempfile
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from transformers import AutoModel, Qwen3Config

from benchmarks.extraction import random_tokens, write
from benchmarks.gpu.section import Machine, Part, Result, require
from benchmarks.timing import interleaved, ratio
from crosslens.activations.extract import inverse_permutation, permutation, residual_stream
from crosslens.activations.shard_reader import ShardReader
from crosslens.models.decoder import truncate

QWEN3_4B = {
    "vocab_size": 151936,
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 18,  # of 36
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
THIN = {
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
ROUNDS = 5
# bfloat16 values of one batch, computed twice
TOLERANCE = 1e-2


def build(shape: dict[str, int], device: str, dtype: torch.dtype) -> torch.nn.Module:
    """Return a truncated random model."""
    torch.manual_seed(0)
    config = Qwen3Config(**shape, max_position_embeddings=4096, tie_word_embeddings=True)
    with torch.device(device):
        model = AutoModel.from_config(config, dtype=dtype)
    return truncate(model, shape["num_hidden_layers"]).requires_grad_(False)


def bare(network: torch.nn.Module, tokens: np.ndarray, batch_size: int) -> None:
    """Run the truncated pass alone, and keep nothing."""
    for group in torch.from_numpy(tokens.astype(np.int64)).split(batch_size):
        residual_stream(network, group.to(network.device))


def written_error(
    network: torch.nn.Module, tokens: np.ndarray, path: Path, batch_size: int
) -> float:
    """Return how far the first batch's rows in the shard are from its states, relatively."""
    first = torch.from_numpy(tokens[:batch_size].astype(np.int64)).to(network.device)
    expected = residual_stream(network, first)[:, 1:].flatten(0, 1).float().cpu()
    count = len(tokens) * (tokens.shape[1] - 1)
    place = inverse_permutation(permutation(0, "0", count))[: len(expected)]
    with ShardReader([path]) as reader:
        require((reader.rows, reader.kept) == (count, count), f"{reader.kept} of {count} rows kept")
        found = reader.mapped[0].activations[torch.from_numpy(place.astype(np.int64))].float()
    return float((found - expected).norm() / expected.norm())


def measure(
    shape: dict[str, int], sequences: int, length: int, batch_size: int, device: str
) -> Result:
    """Return tokens a second by both ways, and their ratio."""
    network = build(shape, device, torch.bfloat16)
    tokens = random_tokens(sequences, shape["vocab_size"], length)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "base" / "shard-0.h5"
        path.parent.mkdir()
        cases = {
            "bare": lambda: bare(network, tokens, batch_size),
            "extraction": lambda: write(network, tokens, path, batch_size),
        }
        seconds = interleaved(cases, ROUNDS, warm=1, wait=wait)
        error = written_error(network, tokens, path, batch_size)
    require(error <= TOLERANCE, f"rows in the shard differ from the states by {error:.1e}")
    speed = {
        f"{name}, tokens a second": tokens.size / median(times) for name, times in seconds.items()
    }
    over = ratio(seconds["extraction"], seconds["bare"])
    rates = ", ".join(f"{name} {value:,.0f}" for name, value in speed.items())
    text = f"{rates}; {over:.2f} times the bare pass; rows differ by {error:.0e}"
    return Result(text, speed | {"over the bare pass": over})


def parts(machine: Machine) -> list[Part]:
    """Return the part at the machine's size; Qwen3-4B's shape needs a GPU."""
    thin = Part("thin model, bfloat16", partial(measure, THIN, 8, 128, 4, machine.device))
    large = Part(
        "Qwen3-4B's shape, bfloat16",
        partial(measure, QWEN3_4B, 64, 1024, 16, machine.device),
        cuda=True,
    )
    return [large] if machine.full else [thin, large] if machine.device == "cpu" else [thin]
