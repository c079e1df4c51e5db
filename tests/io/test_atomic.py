"""Files and directories appear complete or not at all."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from crosslens.io import atomic
from crosslens.io.atomic import atomic_write


def test_file_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    with atomic_write(target) as partial:
        partial.write_text("half")
        assert not target.exists()
    assert target.read_text() == "half"
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(target) as partial:
        partial.write_text("new")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_directory_is_replaced_completely(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "stale").touch()
    with atomic_write(target) as partial:
        partial.mkdir()
        (partial / "fresh").touch()
    assert [path.name for path in target.iterdir()] == ["fresh"]


def fill(folder: Path, text: str) -> None:
    """Write two files with the same text."""
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_text(text)


REPLACE = """
import itertools, sys
from pathlib import Path
from crosslens.io.atomic import atomic_write
for number in itertools.count():
    with atomic_write(Path(sys.argv[1])) as partial:
        partial.mkdir()
        for name in ("a", "b"):
            (partial / name).write_text(str(number))
"""


def test_directory_is_complete_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    target = tmp_path / "model"
    fill(target, "old")
    for pause in (0.2, 0.21, 0.23, 0.24, 0.25):
        writer = subprocess.Popen(
            [sys.executable, "-c", REPLACE, str(target)],
            env={**os.environ, "PYTHONPATH": str(Path(atomic.__file__).parents[2])},
        )
        until = time.monotonic() + pause
        while time.monotonic() < until:
            assert target.is_dir()
        writer.kill()
        writer.wait()
        assert (target / "a").read_text() == (target / "b").read_text() != ""
        with atomic_write(target) as partial:
            fill(partial, "next")
        assert [path.name for path in tmp_path.iterdir()] == ["model"]


REMOVE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from crosslens.io.atomic import remove_atomically
unlink, deleted = os.unlink, []
def unlink_or_die(*arguments, **options):
    if deleted:
        os.kill(os.getpid(), signal.SIGKILL)
    deleted.append(unlink(*arguments, **options))
os.unlink = unlink_or_die
remove_atomically(Path(sys.argv[1]))
"""


def test_killed_removal_leaves_no_partial_directory(tmp_path: Path) -> None:
    target = tmp_path / "run"
    fill(target, "complete")
    died = subprocess.run(
        [sys.executable, "-c", REMOVE_AND_DIE, str(target)],
        env={**os.environ, "PYTHONPATH": str(Path(atomic.__file__).parents[2])},
    )
    assert died.returncode == -signal.SIGKILL
    assert not target.exists()
    assert [len(list(path.iterdir())) for path in tmp_path.iterdir()] == [1]
    atomic.remove_leftovers(target)
    assert not list(tmp_path.iterdir())


def test_names_are_moved_where_they_cannot_be_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "RENAME_EXCHANGE", 1 << 30)  # a flag that the kernel refuses
    fill(tmp_path / "model", "old")
    with atomic_write(tmp_path / "model") as partial:
        fill(partial, "new")
    assert (tmp_path / "model" / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_leftovers_of_killed_writers_are_deleted_and_live_ones_kept(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    this_machine, old = atomic.machine_id(), time.time() - 2 * atomic.ABANDONED_AFTER
    names = {
        "leftover": f".x.{this_machine}-{ended.pid}.tmp",
        "leftover of a swap": f".x.{this_machine}-{ended.pid}.old.tmp",
        "alive": f".x.{this_machine}-{os.getppid()}.tmp",
        "of another file": f".xy.{this_machine}-{ended.pid}.tmp",
        "other machine, abandoned": ".x.abcdef-1.tmp",
        "other machine": ".x.abcdef-2.tmp",
    }
    for name in names.values():
        (tmp_path / name).touch()
    os.utime(tmp_path / names["other machine, abandoned"], (old, old))
    with atomic_write(tmp_path / "x") as partial:
        partial.touch()
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"x", names["alive"], names["of another file"], names["other machine"]}


@pytest.mark.parametrize(("mask", "file", "folder"), [(0o002, 0o664, 0o775), (0o077, 0o600, 0o700)])
def test_permissions_follow_the_umask(tmp_path: Path, mask: int, file: int, folder: int) -> None:
    """safetensors creates files that only their owner can read, which hurts on a shared disk."""
    before = os.umask(mask)
    try:
        save_file({"x": torch.zeros(1)}, tmp_path / "alone")
        assert (tmp_path / "alone").stat().st_mode & 0o777 == 0o600
        with atomic_write(tmp_path / "model") as partial:
            partial.mkdir(mode=0o700)
            save_file({"x": torch.zeros(1)}, partial / "weights")
    finally:
        os.umask(before)
    assert (tmp_path / "model").stat().st_mode & 0o777 == folder
    assert (tmp_path / "model" / "weights").stat().st_mode & 0o777 == file
