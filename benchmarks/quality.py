"""Loss, FVE, L0 and time of complete trainings by each path and dtype.

The activations are the mini study's: base and the final RL model that `make mini` left in
results/mini. The reference is the dense path in float32; its seed 1 shows what a seed changes.
"""

import tempfile
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
import yaml

from crosslens.activations.extract import count_activations, extract, load_truncated
from crosslens.activations.shard_reader import ShardReader
from crosslens.activations.shard_writer import Origin, write_shard
from crosslens.config.sections import ActivationsConfig, CrosscoderConfig
from crosslens.crosscoder.heldout import Quality, evaluate
from crosslens.crosscoder.schedules import make_plan
from crosslens.crosscoder.training import start_training, train_shard
from crosslens.data.corpus import read_shard

TITLE = "Quality by path and dtype"
STUDY = Path("results/mini")
MODELS = ["base", "rl-5"]
REFERENCE = ("dense", "float32", 0)
CASES = (
    REFERENCE,
    ("sparse", "float32", 0),
    ("auto", "float32", 0),
    ("dense", "bfloat16", 0),
    ("sparse", "bfloat16", 0),
    ("auto", "bfloat16", 0),
    ("dense", "float32", 1),
)


class Trained(NamedTuple):
    """One training: seconds of the steps, reading included, and quality on the held-out shard."""

    seconds: float
    quality: Quality


def write_activations(folder: Path, config: dict, model: str, shard: str) -> Path:
    """One model's shard, as the rule `extract_activations` writes it."""
    family = next(iter(config["families"]))
    settings = ActivationsConfig(**config["activations"])
    tokens, corpus_hash = read_shard(STUDY / "activations" / family / "corpus.h5", shard)
    network, layer = load_truncated(STUDY / "models" / family / model, settings.layer)
    path = folder / model / f"shard-{shard}.h5"
    path.parent.mkdir(exist_ok=True)
    size = count_activations(tokens, settings.skip_positions), network.config.hidden_size
    with write_shard(path, *size, what=f"{model}, shard {shard}") as writer:
        found = extract(
            network,
            tokens,
            writer,
            variant=model,
            shard=shard,
            seed=config["seed"],
            batch_size=settings.batch_size,
            skip_positions=settings.skip_positions,
            sink_threshold=settings.sink_threshold,
        )
        writer.write_metadata(
            found.rows, Origin(model, shard, layer, config["seed"], model, corpus_hash)
        )
    return path


def train(folder: Path, settings: CrosscoderConfig, shards: list[str], seed: int) -> Trained:
    """Train a crosscoder over all shards; return its quality."""
    state, seconds = None, 0.0
    for shard in shards:
        with ShardReader([folder / m / f"shard-{shard}.h5" for m in MODELS]) as reader:
            plan = make_plan(settings, rows=reader.rows, shards=len(shards), seed=seed)
            state = state or start_training(MODELS, reader, settings, plan)
            began = time.perf_counter()
            state, _ = train_shard(state, reader, plan, "quality")
            seconds += time.perf_counter() - began
    with ShardReader([folder / m / "shard-heldout.h5" for m in MODELS]) as reader:
        quality = evaluate(state.crosscoder, reader, settings.batch_size, settings.beta)
    return Trained(seconds, quality)


@cache
def measured() -> dict[tuple[str, str, int], Trained]:
    """Every case, on the same shards; one thread, as in the study."""
    config = yaml.safe_load(Path("mini.yaml").read_text())
    shards = [str(number) for number in range(config["activations"]["shards"])]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        for model in MODELS:
            for shard in (*shards, "heldout"):
                write_activations(Path(name), config, model, shard)
        found = {}
        for path, dtype, seed in CASES:
            settings = CrosscoderConfig(**config["crosscoder"] | {"kernel": path, "dtype": dtype})
            found[path, dtype, seed] = train(Path(name), settings, shards, seed)
    torch.set_num_threads(threads)
    return found


def rows() -> list[dict]:
    """One line a training."""
    return [
        {
            "path": path,
            "dtype": dtype,
            "seed": seed,
            "loss": round(run.quality.loss, 4),
            **{f"FVE {m}": round(v, 5) for m, v in run.quality.fve.items()},
            "L0": round(run.quality.l0, 3),
            "s": round(run.seconds, 1),
        }
        for (path, dtype, seed), run in measured().items()
    ]


def distance(one: Quality, other: Quality) -> float:
    """Largest difference in FVE of any model."""
    return max(abs(one.fve[m] - other.fve[m]) for m in one.fve)


def ratios() -> dict[str, float]:
    """Largest differences in FVE from the reference, beside what another seed changes."""
    runs = measured()
    reference = runs[REFERENCE].quality
    found = {
        f"fve_difference_{path}_{'fp32' if dtype == 'float32' else 'bf16'}": distance(
            runs[path, dtype, seed].quality, reference
        )
        for path, dtype, seed in CASES[1:-1]
    }
    return found | {"fve_difference_of_a_seed": distance(runs[CASES[-1]].quality, reference)}
