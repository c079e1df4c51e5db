"""Activation shards written row by row to their places, by a thread, in bounded memory."""

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
from jaxtyping import Float, UInt32

from crosslens.io.atomic import atomic_write
from crosslens.io.errors import InputError

STAGED = 1 << 26  # bytes of rows that are sorted by place before they are written
QUEUED = 2  # batches that may wait for the thread
PAGE = 4096  # activations start at a multiple of it


class Rows(NamedTuple):
    """What is known of a shard's rows besides their activations, in the order of the file."""

    tokens: np.ndarray  # uint32 [rows]
    positions: np.ndarray  # uint16 [rows]
    sequences: np.ndarray  # uint32 [rows]: which row of the corpus's shard
    mask: np.ndarray  # uint8 [rows]: 1 = keep, 0 = attention sink
    mean_norm: float  # over kept rows


class Origin(NamedTuple):
    """Where a shard's activations came from; written to the file's attributes."""

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
    """A new shard that takes rows from `device`; it appears when the block ends without an error.

    Raises InputError when the disk is full, or when a row of `what` is not finite.
    """
    try:
        with (
            atomic_write(path) as partial,
            ShardWriter(partial, rows, d_model, what, device) as writer,
        ):
            yield writer
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written: {error.strerror}: free the disk, or raise "
            "activations.shards: a shard becomes smaller"
        ) from error


class ShardWriter:
    """Takes batches of rows with their places; a thread writes while the caller computes the next.

    Activations are one contiguous data set of bfloat16 bits. `STAGED` bytes of rows are sorted by
    place and written run by run: memory does not grow with the shard but for a row's norm.
    Rows come from a CUDA device through pinned memory, on a stream of their own.
    """

    def __init__(
        self, path: Path, rows: int, d_model: int, what: str, device: torch.device | str
    ) -> None:
        self.path, self.row_bytes, self.what = path, 2 * d_model, what
        self.offset = create(path, rows, d_model)
        self.norms = np.full(rows, np.nan, dtype=np.float32)
        cuda = torch.device(device).type == "cuda"
        self.stream = torch.cuda.Stream(device) if cuda else None
        size = max(1, min(rows, STAGED // self.row_bytes))
        self.staged = torch.empty(size, d_model, dtype=torch.bfloat16, pin_memory=cuda)
        self.places = np.empty(size, dtype=np.uint32)
        self.filled = 0
        self.error: BaseException | None = None
        self.queue: Queue[tuple | None] = Queue(QUEUED)
        self.file = os.open(path, os.O_WRONLY)
        self.thread = Thread(target=self.work, daemon=True)
        self.thread.start()

    def put(self, places: UInt32[np.ndarray, " b"], x: Float[torch.Tensor, "b d"]) -> None:
        """Rows for these places. Raises what went wrong in the thread with an earlier batch."""
        self.check()
        low, norms = x.to(torch.bfloat16), x.norm(dim=1, dtype=torch.float32)
        computed = torch.cuda.current_stream(x.device).record_event() if x.is_cuda else None
        self.queue.put((places, low, norms, computed))

    def work(self) -> None:
        """The thread: stage batch after batch; after an error only empty the queue."""
        for batch in iter(self.queue.get, None):
            if self.error is None:
                try:
                    self.stage(*batch)
                except BaseException as error:  # to be raised in the caller's thread
                    self.error = error

    def stage(
        self,
        places: np.ndarray,
        x: torch.Tensor,
        norms: torch.Tensor,
        computed: torch.cuda.Event | None,
    ) -> None:
        """Copy rows to the staging buffer; write it out whenever it is full."""
        with torch.cuda.stream(self.stream):
            if computed is not None:
                self.stream.wait_event(computed)
            self.norms[places] = finite(norms.cpu(), self.what).numpy()
            while len(places):
                n = min(len(places), len(self.staged) - self.filled)
                copy(self.staged[self.filled : self.filled + n], x[:n])
                self.places[self.filled : self.filled + n] = places[:n]
                self.filled += n
                places, x = places[n:], x[n:]
                if self.filled == len(self.staged):
                    self.flush()

    def flush(self) -> None:
        """Write the staged rows, sorted by place, one call for each run of neighbours."""
        order = np.argsort(self.places[: self.filled])
        places = self.places[: self.filled][order].astype(np.int64)
        data = memoryview(self.staged.view(torch.uint16).numpy()[order]).cast("B")
        runs = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), self.filled]
        starts = (self.offset + places * self.row_bytes).tolist()
        for i, j in pairwise(runs):
            write(self.file, data[i * self.row_bytes : j * self.row_bytes], starts[i])
        self.filled = 0

    def check(self) -> None:
        """Raise what went wrong in the thread."""
        if self.error is not None:
            raise self.error

    def finish(self) -> Float[np.ndarray, " rows"]:
        """Wait until every row is in the file; the rows' L2 norms, in the order of the file."""
        self.queue.put(None)
        self.thread.join()
        self.check()
        if self.filled:
            self.flush()
        return self.norms

    def complete(self, rows: Rows, origin: Origin) -> None:
        """Add the other data sets and the attributes, after `finish`.

        `scale` is sqrt(d_model) / mean norm of the kept rows.
        """
        with h5py.File(self.path, "r+") as file:
            for name in Rows._fields[:-1]:
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


def create(path: Path, rows: int, d_model: int) -> int:
    """Create the file with room for the activations; returns the byte at which they start."""
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    early.set_obj_track_times(False)  # the same activations give the same bytes
    with h5py.File(path, "w", alignment_threshold=PAGE, alignment_interval=PAGE) as file:
        shape = h5py.h5s.create_simple((rows, d_model))
        data = h5py.h5d.create(file.id, b"activations", h5py.h5t.NATIVE_UINT16, shape, early)
        file["activations"].attrs["dtype"] = "bfloat16"
        return data.get_offset()


def copy(into: torch.Tensor, rows: torch.Tensor) -> None:
    """Copy bfloat16 rows. On a CPU not by PyTorch: in this thread it would start a second team of
    threads, which then waits busily on the cores of the forward pass."""
    if rows.is_cuda:
        into.copy_(rows)
    else:
        np.copyto(into.view(torch.uint16).numpy(), rows.view(torch.uint16).numpy())


def write(file: int, data: memoryview, start: int) -> None:
    """Write all bytes at a position: one call may take fewer."""
    while data:
        done = os.pwrite(file, data, start)
        data, start = data[done:], start + done


def finite(norms: torch.Tensor, what: str) -> torch.Tensor:
    """The norms. Raises InputError when one is NaN or infinite: then so is an entry of its row."""
    bad = int((~torch.isfinite(norms)).sum())
    if bad:
        raise InputError(
            f"{what}: {bad} of {len(norms)} rows hold NaN or infinite values: the checkpoint is "
            "damaged or overflows in this dtype"
        )
    return norms
