"""Activation shards: one HDF5 file per variant and shard, read together row by row."""

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

BLOCK = 16  # batches that a shuffled pass reads, and shuffles, together
SCATTERED = 8  # rows a run, on average, below which gathering is faster than copying runs
BUFFERS = 3  # batches read ahead, the ones in use included
DATASETS = ("activations", "tokens", "positions", "sequences", "mask")


class ShardReader:
    """The same shard of several variants, aligned row by row.

    A row counts only if it is kept in every file. Raises InputError when a file is cut short or
    cannot be opened, or when the files' tokens, corpus or layer differ.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.stack = ExitStack()
        self.files = [self.stack.enter_context(open_shard(path)) for path in paths]
        check_aligned(self.files, paths)
        self.stored = [Stored(file, path) for file, path in zip(self.files, paths, strict=True)]
        self.mask = np.logical_and.reduce([file["mask"][:] for file in self.files])
        self.rows, self.d_model = self.files[0]["activations"].shape
        self.kept = int(self.mask.sum())

    def __enter__(self) -> "ShardReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    @cached_property
    def sequences(self) -> Int[np.ndarray, " rows"]:
        """Which sequence of the corpus's shard each row is from."""
        return self.files[0]["sequences"][:].astype(np.int64)

    @property
    def scales(self) -> Float[torch.Tensor, " n"]:
        """sqrt(d_model) / mean norm of each variant."""
        return torch.tensor([file.attrs["scale"] for file in self.files], dtype=torch.float32)

    def attribute(self, name: str) -> list:
        """An attribute of each file."""
        values = [file.attrs[name] for file in self.files]
        return [value.item() if isinstance(value, np.generic) else value for value in values]

    def batches(
        self, size: int, *, shuffle: np.random.Generator | None = None, rest: bool = False
    ) -> Iterator[Float[torch.Tensor, "b n d"]]:
        """One pass over the kept rows, unscaled, in full batches; with `rest` the last one too."""
        for rows in self.numbers(size, shuffle=shuffle, rest=rest):
            yield self.fill(rows, self.buffer(len(rows)))

    def numbered_batches(
        self, size: int
    ) -> Iterator[tuple[Int[np.ndarray, " b"], Float[torch.Tensor, "b n d"]]]:
        """All kept rows in file order, unscaled, each batch with its rows' numbers."""
        for rows in self.numbers(size, rest=True):
            yield rows, self.fill(rows, self.buffer(len(rows)))

    def endless(
        self, size: int, seed: list[int], *, in_order: bool = True
    ) -> Iterator[Float[torch.Tensor, "b n d"]]:
        """Passes without end, shuffled by `seed` and number, the first `in_order` of the file.

        Raises InputError when not even one batch is kept.
        """
        for rows in self.endless_numbers(size, seed, in_order=in_order):
            yield self.fill(rows, self.buffer(size))

    def prefetch(
        self,
        size: int,
        seed: list[int],
        *,
        in_order: bool = True,
        device: torch.device | str = "cpu",
    ) -> Prefetch:
        """The batches of `endless`, as float32 on the device, read ahead by a thread.

        Its `item` are the numbers of a batch's rows. To a CUDA device they travel as bfloat16 from
        pinned memory. See `Prefetch`: a batch is valid until the next one, and `waited` says how
        long the caller waited for the disk.
        Raises InputError when not even one batch is kept.
        """
        cuda = torch.device(device).type == "cuda"
        dtype = torch.bfloat16 if cuda else torch.float32
        buffers = [self.buffer(size, dtype, pin=cuda) for _ in range(BUFFERS)]
        numbers = self.endless_numbers(size, seed, in_order=in_order)
        return Prefetch(numbers, self.fill, buffers, device)

    def numbers(
        self, size: int, *, shuffle: np.random.Generator | None = None, rest: bool = False
    ) -> Iterator[Int[np.ndarray, " b"]]:
        """Which rows make up each batch of one pass.

        In file order, which is random already (see `activations.permutation`) and fast to read;
        with `shuffle` the blocks come in another order and are shuffled within.
        """
        starts = np.arange(0, self.rows, BLOCK * size)
        left = np.empty(0, dtype=np.int64)
        for start in starts if shuffle is None else shuffle.permutation(starts):
            self.expect(start, BLOCK * size)
            rows = start + np.flatnonzero(self.mask[start : start + BLOCK * size])
            if shuffle is not None:
                rows = rows[shuffle.permutation(len(rows))]
            rows = np.concatenate([left, rows])
            full = len(rows) // size * size
            yield from rows[:full].reshape(-1, size)
            left = rows[full:]
        if rest and len(left):
            yield left

    def endless_numbers(
        self, size: int, seed: list[int], *, in_order: bool = True
    ) -> Iterator[Int[np.ndarray, " b"]]:
        """Which rows make up each batch of `endless`. Raises InputError when not one is full."""
        if self.kept < size:
            raise InputError(
                f"{self.paths[0]}: {self.kept} rows kept, fewer than crosscoder.batch_size {size}"
            )
        passes = (np.random.default_rng([*seed, number]) for number in count(int(in_order)))
        shuffled = chain.from_iterable(self.numbers(size, shuffle=p) for p in passes)
        return chain(self.numbers(size), shuffled) if in_order else shuffled

    def expect(self, start: int, count: int) -> None:
        """Have the system read some rows of every file ahead."""
        for stored in self.stored:
            stored.expect(start, count)

    def buffer(
        self, size: int, dtype: torch.dtype = torch.float32, *, pin: bool = False
    ) -> torch.Tensor:
        """Memory for one batch."""
        return torch.empty(size, len(self.files), self.d_model, dtype=dtype, pin_memory=pin)

    def fill(
        self, rows: Int[np.ndarray, " b"], out: Shaped[torch.Tensor, "b n d"]
    ) -> Shaped[torch.Tensor, "b n d"]:
        """Read these rows of every file into `out`, in its dtype."""
        for i, stored in enumerate(self.stored):
            stored.read(rows, out[:, i])
        return out


class Stored:
    """A file's activations, mapped into memory: rows are converted as they are read, in one pass.

    Raises InputError when they are not one contiguous block of bfloat16 bits.
    """

    def __init__(self, file: h5py.File, path: Path) -> None:
        data = file["activations"]
        offset = data.id.get_offset()
        if offset is None or data.dtype != np.uint16:
            raise InputError(
                f"{path}: activations are {data.dtype} and "
                f"{'not ' if offset is None else ''}contiguous, not contiguous bfloat16 bits: "
                "delete it and run again"
            )
        with path.open("rb") as stream:  # copied on write: torch has no read-only tensors
            self.map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        self.offset, self.row_bytes = offset, 2 * data.shape[1]
        flat = torch.frombuffer(self.map, dtype=torch.bfloat16, count=data.size, offset=offset)
        self.activations = flat.view(data.shape)

    def expect(self, start: int, count: int) -> None:
        """Read rows ahead, and let go of those that are mapped by now."""
        first = (self.offset + start * self.row_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
        length = min(count * self.row_bytes, len(self.map) - first)
        self.map.madvise(mmap.MADV_DONTNEED)
        self.map.madvise(mmap.MADV_WILLNEED, first, length)

    def read(self, rows: Int[np.ndarray, " b"], out: Shaped[torch.Tensor, "b d"]) -> None:
        """Copy rows, in the order given, to `out`: by runs in file order, else by gathering."""
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        if len(breaks) > len(rows) // SCATTERED:
            out.copy_(self.activations.index_select(0, torch.from_numpy(rows)))
            return
        for i, j in pairwise([0, *breaks.tolist(), len(rows)]):
            out[i:j] = self.activations[rows[i] : rows[j - 1] + 1]


def open_shard(path: Path) -> h5py.File:
    """Open a shard. Raises InputError when it is cut short, damaged or lacks a data set."""
    try:
        file = h5py.File(path)
    except OSError as error:
        raise InputError(
            f"{path}: this HDF5 file is cut short or damaged ({error}): delete it and run again"
        ) from error
    missing = [name for name in DATASETS if name not in file]
    if missing:
        file.close()
        raise InputError(f"{path}: no data set {missing[0]} in it: delete it and run again")
    return file


def check_aligned(files: list[h5py.File], paths: list[Path]) -> None:
    """Raise InputError unless all files hold the same tokens at the same layer."""
    tokens = [hashlib.sha256(file["tokens"][:].tobytes()).digest() for file in files]
    for file, path, digest in zip(files, paths, tokens, strict=True):
        for what in ("corpus_hash", "layer", "shard"):
            if file.attrs[what] != files[0].attrs[what]:
                raise InputError(f"{path}: its {what} differs from that of {paths[0]}")
        if digest != tokens[0]:
            raise InputError(f"{path}: its tokens differ from those of {paths[0]}")
