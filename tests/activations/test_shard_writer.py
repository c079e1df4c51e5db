"""Every row is at its place for any order, staging size and batch size, or there is no file."""

import errno
import os
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from crosslens.activations import shard_writer
from crosslens.activations.shard_writer import (
    ALIGNMENT,
    Origin,
    RowMetadata,
    create_file,
    write_shard,
)
from crosslens.io.errors import InputError

D, COUNT = 8, 50
ORIGIN = Origin("base", "0", 1, 0, "m", "c")


def random_rows(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(COUNT, D, generator=generator)


def metadata():
    ids = np.arange(COUNT, dtype=np.uint32)
    return RowMetadata(ids, ids.astype(np.uint16), ids, np.ones(COUNT, dtype=np.uint8), 2.0)


def put_all(writer, x, place, size):
    for start in range(0, COUNT, size):
        writer.put(place[start : start + size], x[start : start + size])
    return writer.finish()


@pytest.mark.parametrize("staged", [1, 7, 16, COUNT, 1000])
@pytest.mark.parametrize("size", [1, 9, COUNT])
def test_every_row_is_at_its_place(tmp_path, monkeypatch, staged, size):
    monkeypatch.setattr(shard_writer, "STAGING_BYTES", staged * 2 * D)
    x, path = random_rows(), tmp_path / "shard-0.h5"
    place = np.random.default_rng(size).permutation(COUNT).astype(np.uint32)
    with write_shard(path, COUNT, D, what="x") as writer:
        norms = put_all(writer, x, place, size)
        writer.write_metadata(metadata(), ORIGIN)
    with h5py.File(path) as file:
        stored = torch.from_numpy(file["activations"][:]).view(torch.bfloat16)
        assert file.attrs["scale"] == pytest.approx(D**0.5 / 2)
    assert torch.equal(stored[place.astype(int)], x.bfloat16())
    np.testing.assert_allclose(norms[place], x.norm(dim=1).numpy(), rtol=1e-6)


def test_activations_start_at_a_page(tmp_path):
    assert create_file(tmp_path / "shard-0.h5", ALIGNMENT, D) % ALIGNMENT == 0


def test_adjacent_rows_are_written_by_one_call(tmp_path, monkeypatch):
    calls, pwrite = [], os.pwrite
    monkeypatch.setattr(
        shard_writer.os, "pwrite", lambda f, b, at: calls.append(len(b)) or pwrite(f, b, at)
    )
    place = np.random.default_rng(0).permutation(COUNT).astype(np.uint32)
    with write_shard(tmp_path / "shard-0.h5", COUNT, D, what="x") as writer:
        put_all(writer, random_rows(), place, 10)
        writer.write_metadata(metadata(), ORIGIN)
    assert calls == [COUNT * 2 * D]


def test_short_writes_are_continued(tmp_path, monkeypatch):
    pwrite = os.pwrite
    monkeypatch.setattr(shard_writer.os, "pwrite", lambda f, b, at: pwrite(f, b[:5], at))
    x = random_rows()
    with write_shard(tmp_path / "shard-0.h5", COUNT, D, what="x") as writer:
        put_all(writer, x, np.arange(COUNT, dtype=np.uint32), 10)
        writer.write_metadata(metadata(), ORIGIN)
    with h5py.File(tmp_path / "shard-0.h5") as file:
        stored = torch.from_numpy(file["activations"][:]).view(torch.bfloat16)
    assert torch.equal(stored, x.bfloat16())


def test_full_disk_is_a_one_line_error_and_leaves_no_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shard_writer.os, "pwrite", full)
    with (
        pytest.raises(InputError, match=r"shard-0.h5: cannot be written \(No space left on dev"),
        write_shard(tmp_path / "shard-0.h5", COUNT, D, what="x") as writer,
    ):
        put_all(writer, random_rows(), np.arange(COUNT, dtype=np.uint32), 10)
    assert not list(tmp_path.iterdir())


def test_error_between_batches_leaves_no_file_and_ends_the_thread(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        write_shard(tmp_path / "shard-0.h5", COUNT, D, what="x") as writer,
    ):
        writer.put(np.arange(3, dtype=np.uint32), random_rows()[:3])
        raise KeyboardInterrupt
    assert not writer.thread.is_alive()
    assert not list(tmp_path.iterdir())


def test_error_in_the_thread_is_raised_however_many_batches_follow(tmp_path):
    x = random_rows()
    x[3, 2] = float("nan")
    with (
        pytest.raises(InputError, match="activations of rl-1: 1 of 5 rows hold NaN"),
        write_shard(tmp_path / "shard-0.h5", COUNT, D, what="activations of rl-1") as writer,
    ):
        put_all(writer, x, np.arange(COUNT, dtype=np.uint32), 5)


def test_file_contains_no_time_stamp(tmp_path: Path) -> None:
    """The same activations give the same bytes, whenever they were extracted."""
    create_file(tmp_path / "one", 4, 8)
    time.sleep(1.1)  # HDF5 counts seconds
    create_file(tmp_path / "other", 4, 8)
    header = [(tmp_path / name).read_bytes()[:2048] for name in ("one", "other")]
    assert header[0] == header[1]
