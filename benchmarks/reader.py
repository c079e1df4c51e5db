"""Speed of reading a shard of d_model 2560 from a warm file, and of other loaders."""

import tempfile
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from benchmarks.timing import Seconds, interleaved, ratio
from crosslens.activations.shard_reader import ShardReader
from crosslens.activations.shard_writer import Origin, RowMetadata, write_shard

if TYPE_CHECKING:
    from datasets import Dataset

TITLE = "Reading a shard"
D_MODEL, ROWS, BATCH, ROUNDS = 2560, 65536, 1024, 5
CONTEXT = 128  # rows of one element of the HF data set, as SAELens writes them
OURS, AHEAD, BITS = "ours, float32", "ours, float32, read ahead by a thread", "ours, bfloat16"
MEMMAP, HF = "DataLoader over np.memmap", "DataLoader over an HF data set (SAELens's form)"


class Memmap(torch.utils.data.Dataset):
    """bfloat16 rows in a plain file, a list of them at a time."""

    def __init__(self, path: Path) -> None:
        self.rows = np.memmap(path, dtype=np.uint16, mode="r", shape=(ROWS, D_MODEL))

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, index: list[int]) -> torch.Tensor:
        return torch.from_numpy(self.rows[index]).view(torch.bfloat16).float()


def make_shard(path: Path, x: torch.Tensor) -> Path:
    """Write the rows as a shard of ours."""
    ids = np.arange(len(x), dtype=np.uint32)
    rows = RowMetadata(ids, ids.astype(np.uint16), ids, np.ones(len(x), dtype=np.uint8), 50.0)
    with write_shard(path, *x.shape, what="random rows") as writer:
        writer.put(ids, x)
        writer.finish()
        writer.write_metadata(rows, Origin("base", "0", 1, 0, "", ""))
    return path


def make_hf(path: Path, x: torch.Tensor) -> "Dataset":
    """Write the rows as SAELens caches them: float32, one context an element, on disk."""
    from datasets import Array2D, Dataset, Features

    features = Features({"x": Array2D((CONTEXT, D_MODEL), "float32")})
    contexts = x.float().view(-1, CONTEXT, D_MODEL).numpy()
    Dataset.from_dict({"x": contexts}, features=features).save_to_disk(path)
    return Dataset.load_from_disk(str(path)).with_format("torch")


def memmap_loader(path: Path, x: torch.Tensor) -> DataLoader:
    """Batches of consecutive rows of a plain file."""
    path.write_bytes(x.view(torch.uint16).numpy().tobytes())
    data = Memmap(path)
    sampler = BatchSampler(SequentialSampler(data), BATCH, drop_last=True)
    return DataLoader(data, sampler=sampler, batch_size=None)


def drain(batches: Iterable, count: int) -> None:
    """Take `count` batches."""
    stream = iter(batches)
    for _ in range(count):
        next(stream)


def read_ahead(reader: ShardReader) -> None:
    with reader.prefetch(BATCH, [0]) as stream:
        drain(stream, ROWS // BATCH)


def read_bits(reader: ShardReader, buffer: torch.Tensor) -> None:
    for rows in reader.row_batches(BATCH):
        reader.fill(rows, buffer)


def shuffled(reader: ShardReader) -> Callable[[], None]:
    return lambda: drain(reader.batches(BATCH, shuffle=np.random.default_rng(0)), ROWS // BATCH)


@cache
def measured() -> Seconds:
    """Seconds for one pass over all rows by each way; the files are in the page cache."""
    x = torch.randn(ROWS, D_MODEL, generator=torch.Generator().manual_seed(0)).bfloat16()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        memmap, hf = memmap_loader(path / "rows.bin", x), make_hf(path / "hf", x)
        loader = DataLoader(hf, batch_size=BATCH // CONTEXT)
        with ShardReader([make_shard(path / "base" / "shard-0.h5", x)]) as reader:
            del x
            bits = reader.buffer(BATCH, torch.bfloat16)
            cases = {
                OURS: lambda: drain(reader.batches(BATCH), ROWS // BATCH),
                AHEAD: lambda: read_ahead(reader),
                BITS: lambda: read_bits(reader, bits),
                "ours, a shuffled pass": shuffled(reader),
                MEMMAP: lambda: drain(memmap, ROWS // BATCH),
                HF: lambda: drain(loader, ROWS // BATCH),
            }
            return interleaved(cases, ROUNDS, warm=1)


def rows() -> list[dict]:
    """One line for each way to read."""
    return [
        {"reader": name, "rows_per_second": round(ROWS / median(seconds))}
        for name, seconds in measured().items()
    ]


def ratios() -> dict[str, float]:
    """Return the ratios that are judged."""
    seconds = measured()
    return {
        "reader_rows_per_second": ROWS / median(seconds[AHEAD]),
        "reader_bfloat16_rows_per_second": ROWS / median(seconds[BITS]),
        "reader_against_memmap_loader": ratio(seconds[MEMMAP], seconds[AHEAD]),
        "reader_against_hf_loader": ratio(seconds[HF], seconds[AHEAD]),
    }
