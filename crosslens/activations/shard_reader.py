"""Read activation shards, one HDF5 file per variant and shard, aligned row by row."""

import hashlib
import mmap
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from itertools import chain, count, pairwise
from pathlib import Path

import h5py
import numpy as np
import torch
from jaxtyping import Float, Int, Shaped

from crosslens.activations.prefetch import Prefetch
from crosslens.io.errors import InputError
from crosslens.io.hdf5 import open_hdf5

BATCHES_PER_BLOCK = 16  # batches that a shuffled pass reads and shuffles together
MIN_MEAN_RUN = 8  # adjacent rows; for shorter runs gathering is faster than copying
N_BUFFERS = 3  # batches read ahead, including those in use
FIX = "Delete the activations and run again."
DATASETS = ("activations", "tokens", "positions", "sequences", "mask")


class ShardReader:
    """The same shard of several variants, aligned row by row.

    A row is used only if no file masks it. Raises InputError when a file is truncated or cannot be
    opened, or when the files' tokens, corpus or layer differ.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.stack = ExitStack()
        self.files = [self.stack.enter_context(open_shard(path)) for path in paths]
        check_aligned(self.files, paths)
        self.mapped = [
            MappedActivations(file, path) for file, path in zip(self.files, paths, strict=True)
        ]
        self.mask = np.logical_and.reduce([file["mask"][:] for file in self.files])
        self.rows, self.d_model = self.files[0]["activations"].shape
        self.kept = int(self.mask.sum())

    def __enter__(self) -> "ShardReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    @cached_property
    def sequences(self) -> Int[np.ndarray, " rows"]:
        """Return the index of each row's sequence within the corpus shard."""
        return self.files[0]["sequences"][:].astype(np.int64)

    @property
    def scales(self) -> Float[torch.Tensor, " n"]:
        """Return sqrt(d_model) / mean norm of each variant."""
        return torch.tensor([file.attrs["scale"] for file in self.files], dtype=torch.float32)

    def attribute(self, name: str) -> list:
        """Return an attribute of each file."""
        values = [file.attrs[name] for file in self.files]
        return [value.item() if isinstance(value, np.generic) else value for value in values]

    def batches(
        self, size: int, *, shuffle: np.random.Generator | None = None, drop_last: bool = True
    ) -> Iterator[Float[torch.Tensor, "b n d"]]:
        """Yield the kept rows once, unscaled; `drop_last` leaves out an incomplete last batch."""
        for rows in self.row_batches(size, shuffle=shuffle, drop_last=drop_last):
            yield self.fill(rows, self.buffer(len(rows)))

    def numbered_batches(
        self, size: int
    ) -> Iterator[tuple[Int[np.ndarray, " b"], Float[torch.Tensor, "b n d"]]]:
        """Yield all kept rows in file order, unscaled, each batch with its row numbers."""
        for rows in self.row_batches(size, drop_last=False):
            yield rows, self.fill(rows, self.buffer(len(rows)))

    def endless(
        self, size: int, seed: list[int], *, in_order: bool = True
    ) -> Iterator[Float[torch.Tensor, "b n d"]]:
        """Yield batches of endless passes; each pass is shuffled by `seed` and its number.

        Raises InputError when the kept rows do not fill one batch.
        """
        for rows in self.endless_row_batches(size, seed, in_order=in_order):
            yield self.fill(rows, self.buffer(size))

    def prefetch(
        self,
        size: int,
        seed: list[int],
        *,
        in_order: bool = True,
        device: torch.device | str = "cpu",
    ) -> Prefetch:
        """Return the batches of `endless` as float32 on the device, read ahead by a thread.

        They are copied to a CUDA device as bfloat16 from pinned memory. A batch is valid until the
        next one; `item` holds its row numbers, and `wait_seconds` is how long the caller waited for
        the disk (see `Prefetch`). Raises InputError when the kept rows do not fill one batch.
        """
        cuda = torch.device(device).type == "cuda"
        dtype = torch.bfloat16 if cuda else torch.float32
        buffers = [self.buffer(size, dtype, pin=cuda) for _ in range(N_BUFFERS)]
        row_batches = self.endless_row_batches(size, seed, in_order=in_order)
        return Prefetch(row_batches, self.fill, buffers, device)

    def row_batches(
        self, size: int, *, shuffle: np.random.Generator | None = None, drop_last: bool = True
    ) -> Iterator[Int[np.ndarray, " b"]]:
        """Yield the row numbers of each batch of one pass.

        File order is fast to read, and already random (see `extract.permutation`). With `shuffle`
        blocks of batches come in random order, and rows within a block too.
        """
        block = BATCHES_PER_BLOCK * size
        starts = np.arange(0, self.rows, block)
        left = np.empty(0, dtype=np.int64)
        for start in (starts if shuffle is None else shuffle.permutation(starts)).tolist():
            self.read_ahead(start, block)
            rows = start + np.flatnonzero(self.mask[start : start + block])
            if shuffle is not None:
                rows = rows[shuffle.permutation(len(rows))]
            rows = np.concatenate([left, rows])
            full = len(rows) // size * size
            yield from rows[:full].reshape(-1, size)
            left = rows[full:]
        if len(left) and not drop_last:
            yield left

    def endless_row_batches(
        self, size: int, seed: list[int], *, in_order: bool = True
    ) -> Iterator[Int[np.ndarray, " b"]]:
        """Return the row numbers of each batch of `endless`.

        Raises InputError when the kept rows do not fill one batch.
        """
        if self.kept < size:
            raise InputError(
                f"{self.paths[0]}: only {self.kept} activations are kept, fewer than "
                f"crosscoder.batch_size: {size}. Lower crosscoder.batch_size."
            )
        generators = (np.random.default_rng([*seed, number]) for number in count(int(in_order)))
        passes = (self.row_batches(size, shuffle=generator) for generator in generators)
        shuffled = chain.from_iterable(passes)
        return chain(self.row_batches(size), shuffled) if in_order else shuffled

    def read_ahead(self, start: int, count: int) -> None:
        """Ask the operating system to read some rows of every file ahead."""
        for mapped in self.mapped:
            mapped.read_ahead(start, count)

    def buffer(
        self, size: int, dtype: torch.dtype = torch.float32, *, pin: bool = False
    ) -> Float[torch.Tensor, "{size} n d"]:
        """Return memory for one batch."""
        return torch.empty(size, len(self.files), self.d_model, dtype=dtype, pin_memory=pin)

    def fill(
        self, rows: Int[np.ndarray, " b"], out: Shaped[torch.Tensor, "b n d"]
    ) -> Shaped[torch.Tensor, "b n d"]:
        """Read these rows of every file into `out`, in its dtype; return it."""
        for i, mapped in enumerate(self.mapped):
            mapped.read(rows, out[:, i])
        return out


class MappedActivations:
    """A file's activations, mapped into memory, so that reading and converting rows is one pass.

    Raises InputError when they are not one contiguous block of bfloat16 bits.
    """

    def __init__(self, file: h5py.File, path: Path) -> None:
        data = file["activations"]
        offset = data.id.get_offset()
        if offset is None or data.dtype != np.uint16:
            raise InputError(
                f"{path}: activations must be contiguous bfloat16 bits, found {data.dtype}, "
                f"{'not ' if offset is None else ''}contiguous. Delete the file and run again."
            )
        with path.open("rb") as stream:  # copy on write, as PyTorch has no read-only tensors
            self.map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        self.offset, self.row_bytes = offset, 2 * data.shape[1]
        flat = torch.frombuffer(self.map, dtype=torch.bfloat16, count=data.size, offset=offset)
        self.activations = flat.view(data.shape)

    def read_ahead(self, start: int, count: int) -> None:
        """Read rows ahead, and release the pages that are mapped now."""
        first = (self.offset + start * self.row_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
        length = min(count * self.row_bytes, len(self.map) - first)
        self.map.madvise(mmap.MADV_DONTNEED)
        self.map.madvise(mmap.MADV_WILLNEED, first, length)

    def read(self, rows: Int[np.ndarray, " b"], out: Shaped[torch.Tensor, "b d"]) -> None:
        """Copy rows in the given order to `out`: run by run, or by gathering if runs are short."""
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        if len(breaks) > len(rows) // MIN_MEAN_RUN:
            out.copy_(self.activations.index_select(0, torch.from_numpy(rows)))
            return
        for i, j in pairwise([0, *breaks.tolist(), len(rows)]):
            out[i:j] = self.activations[rows[i] : rows[j - 1] + 1]


def files_by_variant(folders: list[Path]) -> dict[str, Path]:
    """Return the file of each model, {variant}.h5, in the directories of one shard."""
    return {path.stem: path for folder in folders for path in folder.glob("*.h5")}


def open_shard(path: Path) -> h5py.File:
    """Open a shard. Raises InputError when it is truncated, damaged or lacks a data set."""
    file = open_hdf5(path)
    missing = [name for name in DATASETS if name not in file]
    if missing:
        file.close()
        raise InputError(
            f"{path}: the data set {missing[0]} is missing. Delete the file and run again."
        )
    return file


def check_aligned(files: list[h5py.File], paths: list[Path]) -> None:
    """Raise InputError unless all files hold the same tokens at the same layer."""
    tokens = [hashlib.sha256(file["tokens"][:].tobytes()).digest() for file in files]
    for file, path, digest in zip(files, paths, tokens, strict=True):
        for what in ("corpus_hash", "layer", "shard"):
            if file.attrs[what] != files[0].attrs[what]:
                raise InputError(f"{path}: its {what} differs from that of {paths[0]}. {FIX}")
        if digest != tokens[0]:
            raise InputError(f"{path}: its tokens differ from those of {paths[0]}. {FIX}")
