"""Activation shards: one HDF5 file per variant and shard, read together row by row."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import torch
from jaxtyping import Float

from crosslens.errors import InputError
from crosslens.files import whole

BLOCK = 16  # batches read at a time
DATASETS = ("activations", "tokens", "positions", "sequences", "mask")


class Extracted(NamedTuple):
    """Rows of one shard in their permuted order, and what became of the corpus's tokens."""

    activations: np.ndarray  # uint16 [rows, d_model]: bfloat16 bits
    tokens: np.ndarray  # uint32 [rows]
    positions: np.ndarray  # uint16 [rows]
    sequences: np.ndarray  # uint32 [rows]: which row of the shard
    mask: np.ndarray  # uint8 [rows]: 1 = keep, 0 = attention sink
    mean_norm: float  # over kept rows
    counts: dict[str, int | str]


class Origin(NamedTuple):
    """Where a shard's activations came from; written to the file's attributes."""

    variant: str
    shard: str
    layer: int
    seed: int
    model_hash: str
    corpus_hash: str


def write_shard(path: Path, extracted: Extracted, origin: Origin) -> None:
    """Write a shard: contiguous datasets, bfloat16 as uint16, the scale and hashes as attributes.

    `scale` is sqrt(d_model) / mean norm of the kept rows.
    """
    d_model = extracted.activations.shape[1]
    with whole(path) as partial, h5py.File(partial, "w") as file:
        for name in DATASETS:
            file.create_dataset(name, data=getattr(extracted, name))
        file["activations"].attrs["dtype"] = "bfloat16"
        file.attrs["mean_norm"] = extracted.mean_norm
        file.attrs["scale"] = d_model**0.5 / extracted.mean_norm
        for key, value in origin._asdict().items():
            file.attrs[key] = value


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
        self.mask = np.logical_and.reduce([file["mask"][:] for file in self.files])
        self.rows, self.d_model = self.files[0]["activations"].shape
        self.kept = int(self.mask.sum())

    def __enter__(self) -> "ShardReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

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
        """One pass over the kept rows, unscaled, in full batches; with `rest` the last one too.

        In file order, which is random already (see `activations.permutation`) and fast to read;
        with `shuffle` the blocks come in another order and are shuffled within.
        """
        starts = np.arange(0, self.rows, BLOCK * size)
        left = torch.empty(0, len(self.files), self.d_model)
        for start in starts if shuffle is None else shuffle.permutation(starts):
            block = self.read(slice(start, start + BLOCK * size))
            if shuffle is not None:
                block = block[torch.from_numpy(shuffle.permutation(len(block)))]
            block = torch.cat([left, block])
            full = len(block) // size * size
            yield from block[:full].split(size) if full else ()
            left = block[full:]
        if rest and len(left):
            yield left

    def read(self, rows: slice) -> Float[torch.Tensor, "b n d"]:
        """The kept ones among some rows, of all variants."""
        keep = torch.from_numpy(self.mask[rows])
        parts = [as_floats(file["activations"][rows])[keep] for file in self.files]
        return torch.stack(parts, dim=1)

    def endless(self, size: int, seed: list[int]) -> Iterator[Float[torch.Tensor, "b n d"]]:
        """Passes without end: the first in file order, the others shuffled by `seed` and number.

        Raises InputError when not even one batch is kept.
        """
        if self.kept < size:
            raise InputError(
                f"{self.paths[0]}: {self.kept} rows kept, fewer than crosscoder.batch_size {size}"
            )
        yield from self.batches(size)
        for number in count(1):
            yield from self.batches(size, shuffle=np.random.default_rng([*seed, number]))


def open_shard(path: Path) -> h5py.File:
    """Open a shard, or say in one line that it is damaged."""
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


def as_floats(bits: np.ndarray) -> Float[torch.Tensor, "b d"]:
    """bfloat16 bits as float32."""
    return torch.from_numpy(bits).view(torch.bfloat16).float()
