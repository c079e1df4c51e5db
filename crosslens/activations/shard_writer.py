"""Write activation shards: a thread writes each row at its position, in bounded memory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from jaxtyping import BFloat16, Float, UInt8, UInt16, UInt32

from crosslens.io.atomic import atomic_write
from crosslens.io.errors import InputError
from crosslens.io.hdf5 import write_hdf5

STAGING_BYTES = 1 << 26  # rows are collected up to this size and sorted by place before a write
MAX_QUEUED = 2  # batches that may wait for the thread
ALIGNMENT = 4096  # bytes; activations start at a multiple of it


class RowMetadata(NamedTuple):
    """Metadata of a shard's rows in file order."""

    tokens: UInt32[np.ndarray, " rows"]
    positions: UInt16[np.ndarray, " rows"]
    sequences: UInt32[np.ndarray, " rows"]  # row of the corpus's shard
    mask: UInt8[np.ndarray, " rows"]  # 1 = keep, 0 = attention sink
    mean_norm: float  # L2, over kept rows


class Origin(NamedTuple):
    """Where a shard's activations come from; stored as the file's attributes."""

    variant: str
    shard: str
    layer: int
    seed: int
    model_hash: str
    corpus_hash: str


@contextmanager
def write_shard(
    path: Path, rows: int, d_model: int, *, what: str, device: torch.device | str = "cpu"
) -> Iterator["ShardWriter"]:
    """Open a shard for rows from `device`; the file appears if the block ends without an error.

    Raises InputError when the disk is full, the file cannot be locked, or a row of `what` is not
    finite.
    """
    try:
        with (
            atomic_write(path) as partial,
            ShardWriter(partial, rows, d_model, what, device) as writer,
        ):
            yield writer
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}). Free disk space, or raise "
            "activations.shards to make shards smaller."
        ) from error


class ShardWriter:
    """Write batches of rows to their places in a thread while the caller computes the next batch.

    Activations are one contiguous data set of bfloat16 bits. Rows are collected in a staging
    buffer, sorted by place and written run by run. Apart from one norm per row, memory does not
    grow with the shard. Rows of a CUDA device are copied to pinned memory on a separate stream.
    """

    def __init__(
        self, path: Path, rows: int, d_model: int, what: str, device: torch.device | str
    ) -> None:
        self.path, self.row_bytes, self.what = path, 2 * d_model, what
        self.offset = create_file(path, rows, d_model)
        self.norms = np.full(rows, np.nan, dtype=np.float32)
        cuda = torch.device(device).type == "cuda"
        self.stream = torch.cuda.Stream(device) if cuda else None
        size = max(1, min(rows, STAGING_BYTES // self.row_bytes))
        self.staged = torch.empty(size, d_model, dtype=torch.bfloat16, pin_memory=cuda)
        self.places = np.empty(size, dtype=np.uint32)
        self.filled = 0
        self.error: BaseException | None = None
        self.queue: Queue[tuple | None] = Queue(MAX_QUEUED)
        self.file = os.open(path, os.O_WRONLY)
        self.thread = Thread(target=self.stage_batches, daemon=True)
        self.thread.start()

    def put(self, places: UInt32[np.ndarray, " b"], x: Float[torch.Tensor, "b d"]) -> None:
        """Queue rows for these positions in the file. Raises an earlier error of the thread."""
        self.raise_error()
        low, norms = x.to(torch.bfloat16), x.norm(dim=1, dtype=torch.float32)
        computed = torch.cuda.current_stream(x.device).record_event() if x.is_cuda else None
        self.queue.put((places, low, norms, computed))

    def stage_batches(self) -> None:
        """Stage queued batches in the thread; after an error, only empty the queue."""
        for batch in iter(self.queue.get, None):
            if self.error is None:
                try:
                    self.stage(*batch)
                except BaseException as error:  # to be raised in the caller's thread
                    self.error = error

    def stage(
        self,
        places: UInt32[np.ndarray, " b"],
        x: BFloat16[torch.Tensor, "b d"],
        norms: Float[torch.Tensor, " b"],
        computed: torch.cuda.Event | None,
    ) -> None:
        """Copy rows to the staging buffer, and write the buffer whenever it is full."""
        with torch.cuda.stream(self.stream):
            if self.stream is not None and computed is not None:
                self.stream.wait_event(computed)
            self.norms[places] = check_finite_rows(norms.cpu(), self.what).numpy()
            while len(places):
                n = min(len(places), len(self.staged) - self.filled)
                copy_rows(self.staged[self.filled : self.filled + n], x[:n])
                self.places[self.filled : self.filled + n] = places[:n]
                self.filled += n
                places, x = places[n:], x[n:]
                if self.filled == len(self.staged):
                    self.flush()

    def flush(self) -> None:
        """Write the staged rows, sorted by place, with one call per run of adjacent places."""
        order = np.argsort(self.places[: self.filled])
        places = self.places[: self.filled][order].astype(np.int64)
        data = memoryview(self.staged.view(torch.uint16).numpy()[order]).cast("B")
        runs = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), self.filled]
        starts = (self.offset + places * self.row_bytes).tolist()
        for i, j in pairwise(runs):
            write_fully(self.file, data[i * self.row_bytes : j * self.row_bytes], starts[i])
        self.filled = 0

    def raise_error(self) -> None:
        """Raise the thread's error, if there was one."""
        if self.error is not None:
            raise self.error

    def finish(self) -> Float[np.ndarray, " rows"]:
        """Wait until all rows are in the file; return their L2 norms in file order."""
        self.queue.put(None)
        self.thread.join()
        self.raise_error()
        if self.filled:
            self.flush()
        return self.norms

    def write_metadata(self, rows: RowMetadata, origin: Origin) -> None:
        """Add the other data sets and the attributes; call it after `finish`.

        The attribute `scale` is sqrt(d_model) / mean norm of the kept rows.
        """
        with write_hdf5(self.path, "r+") as file:
            for name in RowMetadata._fields[:-1]:
                file.create_dataset(name, data=getattr(rows, name))
            d_model = file["activations"].shape[1]
            file.attrs["mean_norm"] = rows.mean_norm
            file.attrs["scale"] = d_model**0.5 / rows.mean_norm
            for key, value in origin._asdict().items():
                file.attrs[key] = value

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: Any) -> None:
        if self.thread.is_alive():
            self.queue.put(None)
            self.thread.join()
        os.close(self.file)


def create_file(path: Path, rows: int, d_model: int) -> int:
    """Create the file with space for the activations; return their offset in bytes."""
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    early.set_obj_track_times(False)  # the same activations give the same bytes
    with write_hdf5(path, "w", alignment_threshold=ALIGNMENT, alignment_interval=ALIGNMENT) as file:
        shape = h5py.h5s.create_simple((rows, d_model))
        data = h5py.h5d.create(file.id, b"activations", h5py.h5t.NATIVE_UINT16, shape, early)
        file["activations"].attrs["dtype"] = "bfloat16"
        return data.get_offset()


def copy_rows(into: BFloat16[torch.Tensor, "b d"], rows: BFloat16[torch.Tensor, "b d"]) -> None:
    """Copy bfloat16 rows into the staging buffer.

    On a CPU this is NumPy: PyTorch would start a second OpenMP team in this thread, which then
    spins on the cores of the forward pass.
    """
    if rows.is_cuda:
        into.copy_(rows)
    else:
        np.copyto(into.view(torch.uint16).numpy(), rows.view(torch.uint16).numpy())


def write_fully(file: int, data: memoryview, start: int) -> None:
    """Write all bytes at a file position, as one call may write fewer."""
    while data:
        done = os.pwrite(file, data, start)
        data, start = data[done:], start + done


def check_finite_rows(norms: Float[torch.Tensor, " b"], what: str) -> Float[torch.Tensor, " b"]:
    """Return the norms. Raises InputError when one is not finite: its row has NaN or infinity."""
    bad = int((~torch.isfinite(norms)).sum())
    if bad:
        raise InputError(
            f"{what}: {bad} of {len(norms)} rows hold NaN or infinite values. Replace the "
            "checkpoint: it is damaged, or it overflows in this dtype."
        )
    return norms
