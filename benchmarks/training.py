"""Time of a complete training, with reading, and of its steps alone, at 1, 4 and 16 x tokens."""

import resource
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from crosslens.activations.shard_reader import ShardReader
from crosslens.activations.shard_writer import Origin, RowMetadata, write_shard
from crosslens.config.sections import CrosscoderConfig
from crosslens.crosscoder.kernels.train_step import Moments, TrainStep
from crosslens.crosscoder.model import Crosscoder
from crosslens.crosscoder.schedules import TrainingPlan, make_plan
from crosslens.crosscoder.training import TrainingState, take_step, train_shard

TITLE = "Complete training"
MODELS, D_MODEL, D_SPARSE, BATCH, L0 = ["base", "rl-5"], 256, 4096, 1024, 60
ROUNDS = {20: 1, 80: 1, 320: 3}  # the longest has as many steps as a shard of the mini study
SETTINGS = CrosscoderConfig(
    d_sparse=D_SPARSE, learning_rate=1e-9, batch_size=BATCH, dtype="bfloat16"
)


class Measured(NamedTuple):
    """One length of training; medians over rounds."""

    steps: int
    whole: float  # seconds
    bare: float  # seconds of the same steps on batches in memory
    waiting: float  # share of the time spent waiting for data
    peak: float  # GiB: most memory that the process has had


def shards(folder: Path, steps: int) -> list[Path]:
    """Both models' activations of that many batches."""
    paths, rows = [], steps * BATCH
    zeros = np.zeros(rows, dtype=np.uint32)
    described = RowMetadata(zeros, zeros.astype(np.uint16), zeros, np.ones(rows, np.uint8), 16.0)
    for model in MODELS:
        path = folder / model / f"shard-{steps}.h5"
        path.parent.mkdir(exist_ok=True)
        with write_shard(path, rows, D_MODEL, what="benchmark") as writer:
            for first in range(0, rows, BATCH):
                places = np.arange(first, first + BATCH, dtype=np.uint32)
                writer.put(places, torch.randn(BATCH, D_MODEL))
            writer.finish()
            writer.write_metadata(described, Origin(model, "0", 1, 0, "m", "c"))
        paths.append(path)
    return paths


def state() -> TrainingState:
    """Return a crosscoder at the judged density."""
    crosscoder = Crosscoder(len(MODELS), D_MODEL, D_SPARSE, metadata={"models": MODELS})
    crosscoder.metadata["distinct_tokens"] = 0
    with torch.no_grad():
        pre = torch.randn(128, 2 * D_MODEL) @ crosscoder.W_enc.reshape(2 * D_MODEL, D_SPARSE)
        crosscoder.b_enc -= pre.flatten().quantile(1 - L0 / D_SPARSE)
    return TrainingState(crosscoder, Moments.zero(crosscoder), 0)


def whole(reader: ShardReader, plan: TrainingPlan) -> tuple[float, float]:
    """Seconds of one shard's training, and the share of waiting."""
    began = state()
    started = time.perf_counter()
    _, records = train_shard(began, reader, plan, "benchmark")
    return time.perf_counter() - started, records[-1]["waiting_share"]


def bare(plan: TrainingPlan) -> float:
    """Seconds of as many steps on batches that are in memory."""
    began = state()
    batches = [torch.randn(BATCH, len(MODELS), D_MODEL) for _ in range(4)]
    started = time.perf_counter()
    stepper = TrainStep(began.crosscoder, began.moments, BATCH, plan.step_settings(D_MODEL))
    for step in range(plan.steps_per_shard):
        take_step(stepper, batches[step % 4], plan, step)
    return time.perf_counter() - started


@cache
def measured() -> list[Measured]:
    """Every length, whole and bare by turns."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        for steps, rounds in ROUNDS.items():
            with ShardReader(shards(Path(name), steps)) as reader:
                plan = make_plan(SETTINGS, rows=reader.rows, shards=1, seed=0)
                runs = [(*whole(reader, plan), bare(plan)) for _ in range(rounds)]
            seconds, waiting, alone = (
                float(np.median(column)) for column in zip(*runs, strict=True)
            )
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            found.append(Measured(steps, seconds, alone, waiting, peak))
    return found


def rows() -> list[dict]:
    """One line a length."""
    return [
        {
            "tokens": m.steps * BATCH,
            "whole s": round(m.whole, 2),
            "bare steps s": round(m.bare, 2),
            "tokens/s": round(m.steps * BATCH / m.whole),
            "waiting share": round(m.waiting, 4),
            "peak GiB": round(m.peak, 2),
        }
        for m in measured()
    ]


def ratios() -> dict[str, float]:
    """Return the judged ratios: of the longest length, and its growth over the middle one."""
    _, middle, longest = measured()
    return {
        "training_over_bare_step": longest.whole / longest.bare,
        "training_waiting_share": longest.waiting,
        "training_time_growth_x4_tokens": longest.whole / middle.whole,
        "training_memory_growth_x4_tokens": longest.peak / middle.peak,
    }
