"""Batches read ahead into pinned memory and copied on a stream of their own, against plain copies.

The device is kept busy while batches arrive, so that it reads them later than the host hands them
out. A buffer that is filled again too early gives other rows.
"""

import tempfile
from functools import partial
from pathlib import Path
from statistics import median

import torch

from benchmarks.gpu.section import Machine, Part, Result, require
from benchmarks.reader import make_shard
from benchmarks.timing import interleaved, ratio
from crosslens.activations.shard_reader import ShardReader

BATCH, ROUNDS = 1024, 5
BATCHES = 40  # of the check: more than one pass over the small shards, one over the large
BUSY = 4096  # side of the product that keeps a GPU busy


def shards(folder: Path, rows: int, d_model: int) -> list[Path]:
    """Write the same tokens' activations of two models."""
    generator = torch.Generator().manual_seed(0)
    paths = []
    for model in ("base", "rl-5"):
        (folder / model).mkdir()
        x = torch.randn(rows, d_model, generator=generator).bfloat16()
        paths.append(make_shard(folder / model / "shard-0.h5", x))
    return paths


def busy(device: str) -> None:
    """Give a GPU work for some milliseconds; the host does not wait."""
    if device == "cuda":
        a = torch.ones(BUSY, BUSY, device=device)
        for _ in range(4):
            a = a @ a / BUSY


def wrong_batches(reader: ShardReader, device: str) -> int:
    """Return how many prefetched batches are not what a plain reading gives."""
    seed, kept = [0], []
    with reader.prefetch(BATCH, seed, device=device) as stream:
        for _ in range(BATCHES):
            x = next(stream)
            busy(device)
            kept.append(x.clone())
    expected = reader.endless(BATCH, seed)
    return sum(not torch.equal(x.cpu(), next(expected)) for x in kept)


def ahead(reader: ShardReader, device: str) -> None:
    """Take one pass of batches that a thread reads ahead."""
    with reader.prefetch(BATCH, [0], device=device) as stream:
        for _ in range(reader.kept // BATCH):
            next(stream)


def plain(reader: ShardReader, device: str) -> None:
    """Take one pass: read a batch as float32, then copy it."""
    for x in reader.batches(BATCH):
        x.to(device)


def measure(rows: int, d_model: int, device: str) -> Result:
    """Return rows a second by both ways, after comparing their batches."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    with (
        tempfile.TemporaryDirectory() as folder,
        ShardReader(shards(Path(folder), rows, d_model)) as reader,
    ):
        wrong = wrong_batches(reader, device)
        require(not wrong, f"{wrong} of {BATCHES} prefetched batches hold other rows")
        cases = {
            "read ahead": lambda: ahead(reader, device),
            "read, then copied": lambda: plain(reader, device),
        }
        seconds = interleaved(cases, ROUNDS, warm=1, wait=wait)
    rates = {f"{name}, rows a second": rows / median(times) for name, times in seconds.items()}
    speed = ratio(seconds["read, then copied"], seconds["read ahead"])
    text = ", ".join(f"{name} {value:,.0f}" for name, value in rates.items())
    return Result(
        f"{BATCHES} batches equal; {text}, two models", rates | {"speed over plain": speed}
    )


def parts(machine: Machine) -> list[Part]:
    """Return the part of the device; on a CPU also the one that it cannot run."""
    rows, d_model = (65536, 2560) if machine.full else (16384, 256)
    here = Part(f"d_model {d_model}, to {machine.device}", partial(measure, rows, d_model,
                machine.device), packages=("h5py",))  # fmt: skip
    pinned = Part("pinned buffers, copies on a stream", partial(measure, rows, d_model, "cuda"),
                  packages=("h5py",), cuda=True)  # fmt: skip
    return [here] if machine.device == "cuda" else [here, pinned]
