"""Speed of extraction with writing, of forward passes alone, and of SAELens's cache.

The model has the shape of Qwen3-0.6B (28 layers, d_model 1024, 151,936 tokens), random weights. Its
full forward pass has 2.7 times the FLOP of the truncated one. Extraction can be faster by more,
because it lays out weights for MKL once. The last rows measure time and peak memory at 1, 4 and 16
times the tokens, behind one thin layer.
"""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from benchmarks.timing import Seconds, interleaved, ratio
from crosslens.activations.extract import (
    count_activations,
    extract,
    load_truncated,
    residual_stream,
)
from crosslens.activations.shard_writer import Origin, write_shard
from crosslens.models.prepacked_linear import prepack

TITLE = "Extraction"
SEQUENCES, LENGTH, BATCH, ROUNDS = 8, 128, 4, 5
OURS, BARE = "ours: truncated, written", "truncated forward, nothing kept"
FULL, SAELENS = "full forward with logits", "SAELens CacheActivationsRunner"
GROWTH = (1, 4, 16)
SHAPE = {
    "vocab_size": 151936,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
SMALLEST = 128  # sequences at x1: 16,256 rows of d_model 2560, more than the staging buffer holds
WIDE = {"hidden_size": 2560, "intermediate_size": 256, "num_hidden_layers": 2, "vocab_size": 1000}


def save_model(path: Path, **changes: int) -> Path:
    """Save a random model of Qwen3-0.6B's shape."""
    torch.manual_seed(0)
    config = Qwen3Config(**SHAPE | changes, tie_word_embeddings=True)
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    return path


def random_tokens(sequences: int, vocabulary: int, length: int = LENGTH) -> np.ndarray:
    """Token ids [sequences, length]."""
    return np.random.default_rng(0).integers(0, vocabulary, (sequences, length)).astype(np.uint32)


def write(
    network: torch.nn.Module, tokens: np.ndarray, path: Path, batch_size: int = BATCH
) -> None:
    """Do what `extract_activations` does once the model is loaded and prepacked."""
    size = count_activations(tokens, 1), network.config.hidden_size
    device = next(network.parameters()).device
    with write_shard(path, *size, what="random tokens", device=device) as writer:
        found = extract(
            network,
            tokens,
            writer,
            variant="base",
            shard="0",
            seed=0,
            batch_size=batch_size,
            skip_positions=1,
            sink_threshold=10.0,
        )
        writer.write_metadata(found.rows, Origin("base", "0", 1, 0, "", ""))


@torch.inference_mode()
def forward(model: Callable, tokens: np.ndarray) -> None:
    """Run a forward pass over all tokens."""
    for group in torch.from_numpy(tokens.astype(np.int64)).split(BATCH):
        model(input_ids=group, attention_mask=torch.ones_like(group), use_cache=False)


def saelens(path: Path, tokens: np.ndarray, layer: int) -> Callable[[], None]:
    """SAELens's activation cache of the same tokens at the same layer, stopped there as well."""
    from datasets import Dataset
    from sae_lens import CacheActivationsRunner, CacheActivationsRunnerConfig

    from crosslens.synthetic.tokenizer import build_tokenizer

    build_tokenizer(["a"], max_length=LENGTH).save_pretrained(path)
    data = Dataset.from_dict({"input_ids": tokens.astype(np.int64).tolist()})
    runs = iter(range(1000))

    def run_of(number: int) -> CacheActivationsRunner:
        config = CacheActivationsRunnerConfig(
            dataset_path="",
            model_name=str(path),
            model_class_name="AutoModelForCausalLM",
            model_batch_size=BATCH,
            hook_name=f"model.layers.{layer - 1}",
            d_in=1024,
            training_tokens=tokens.size,
            context_size=LENGTH,
            new_cached_activations_path=str(path / f"cache-{number}"),
            shuffle=False,
            prepend_bos=False,
            streaming=False,
            device="cpu",
            buffer_size_gb=BATCH * LENGTH * 1024 * 4 / 1e9,
        )
        return CacheActivationsRunner(config, override_dataset=data)

    runner = run_of(0)  # loads the model once; later runs only write elsewhere

    def run() -> None:
        runner.cfg.new_cached_activations_path = str(path / f"cache-{next(runs)}")
        runner.run()

    return run


@cache
def measured() -> Seconds:
    """Seconds for the same tokens by each way."""
    tokens = random_tokens(SEQUENCES, 151936)
    with tempfile.TemporaryDirectory() as folder:
        path = save_model(Path(folder) / "model")
        network, layer = load_truncated(path, "middle")
        prepacked = prepack(load_truncated(path, "middle")[0], BATCH * LENGTH)
        full = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        cases: dict[str, Callable[[], object]] = {
            BARE: lambda: forward(network, tokens),
            OURS: lambda: write(prepacked, tokens, Path(folder) / "shard-0.h5"),
            FULL: lambda: forward(full, tokens),
        }
        if find_spec("sae_lens"):  # in the environment `bench`, for this benchmark alone
            cases[SAELENS] = saelens(path, tokens, layer)
        return interleaved(cases, ROUNDS, warm=1)


def grow(path: Path, factor: int) -> tuple[float, float, float]:
    """In a process of its own: seconds of the bare pass and of extraction, and peak MB."""
    torch.set_num_threads(1)
    network, _ = load_truncated(path, 1)
    tokens = random_tokens(SMALLEST * factor, WIDE["vocab_size"])
    started = time.perf_counter()
    for group in torch.from_numpy(tokens.astype(np.int64)).split(BATCH):
        residual_stream(network, group)
    bare = time.perf_counter() - started
    write(network, tokens, path / f"shard-{factor}.h5")
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return bare, time.perf_counter() - started - bare, peak


def full_over_truncated() -> float:
    """FLOP of the full forward pass with logits over those of half of its layers."""
    d, attention = SHAPE["hidden_size"], SHAPE["num_attention_heads"] * SHAPE["head_dim"]
    grouped = SHAPE["num_key_value_heads"] * SHAPE["head_dim"]
    linear = 2 * d * (attention + grouped) + 3 * d * SHAPE["intermediate_size"]
    layer = linear + LENGTH * attention  # a token sees half of the others: keys, then values
    layers, head = SHAPE["num_hidden_layers"], d * SHAPE["vocab_size"]
    return (layers * layer + head) / (layers // 2 * layer)


@cache
def growth() -> dict[int, tuple[float, float, float]]:
    """`grow` for x1, x4, x16 tokens, at d_model 2560 behind one thin layer: mostly writing."""
    with tempfile.TemporaryDirectory() as folder:
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64}
        path = save_model(Path(folder) / "model", **WIDE, **heads)
        found = {}
        for factor in GROWTH:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                found[factor] = pool.submit(grow, path, factor).result()
            (path / f"shard-{factor}.h5").unlink()
        return found


def rows() -> list[dict]:
    """One line for each way, then one for each number of tokens."""
    tokens = SEQUENCES * LENGTH
    ways = [
        {
            "case": name,
            "tokens_per_second": round(tokens / median(seconds), 1),
            "bare_tokens_per_second": round(tokens / median(measured()[BARE]), 1),
            "peak_mb": "",
        }
        for name, seconds in measured().items()
    ]
    sizes = [
        {
            "case": f"growth: {SMALLEST * factor * LENGTH:,} tokens of d_model 2560",
            "tokens_per_second": round(SMALLEST * factor * LENGTH / seconds, 1),
            "bare_tokens_per_second": round(SMALLEST * factor * LENGTH / bare, 1),
            "peak_mb": round(peak),
        }
        for factor, (bare, seconds, peak) in growth().items()
    ]
    return ways + sizes


def ratios() -> dict[str, float]:
    """Return the ratios that are judged."""
    seconds, sizes = measured(), growth()
    last = GROWTH[-1]
    found = {
        "extraction_against_bare_truncated": ratio(seconds[BARE], seconds[OURS]),
        "extraction_against_full_forward": ratio(seconds[FULL], seconds[OURS]),
        "full_forward_over_truncated_by_flop": full_over_truncated(),
        "extraction_growth_seconds": sizes[last][1] / sizes[1][1] / last,
        "extraction_growth_peak_memory": sizes[last][2] / sizes[1][2],
    }
    if SAELENS in seconds:
        found["extraction_against_saelens"] = ratio(seconds[SAELENS], seconds[OURS])
    return found
