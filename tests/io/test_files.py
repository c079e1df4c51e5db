"""Files appear whole or not at all."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from crosslens.io import files
from crosslens.io.files import read_jsonl, sha256, whole, write_json, write_jsonl


def test_a_file_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    with whole(target) as partial:
        partial.write_text("half")
        assert not target.exists()
    assert target.read_text() == "half"
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), whole(target) as partial:
        partial.write_text("new")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "stale").touch()
    with whole(target) as partial:
        partial.mkdir()
        (partial / "fresh").touch()
    assert [path.name for path in target.iterdir()] == ["fresh"]


def fill(folder: Path, text: str) -> None:
    """Two files with the same text."""
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_text(text)


REPLACE = """
import itertools, sys
from pathlib import Path
from crosslens.io.files import whole
for number in itertools.count():
    with whole(Path(sys.argv[1])) as partial:
        partial.mkdir()
        for name in ("a", "b"):
            (partial / name).write_text(str(number))
"""


def test_a_directory_is_there_and_whole_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    target = tmp_path / "model"
    fill(target, "old")
    for pause in (0.2, 0.21, 0.23, 0.24, 0.25):
        writer = subprocess.Popen(
            [sys.executable, "-c", REPLACE, str(target)],
            env={**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[2])},
        )
        until = time.monotonic() + pause
        while time.monotonic() < until:
            assert target.is_dir()
        writer.kill()
        writer.wait()
        assert (target / "a").read_text() == (target / "b").read_text() != ""
        with whole(target) as partial:
            fill(partial, "next")
        assert [path.name for path in tmp_path.iterdir()] == ["model"]


DISCARD = """
import os, signal, sys
from pathlib import Path
from crosslens.io.files import discard
unlink, deleted = os.unlink, []
def unlink_or_die(*arguments, **options):
    if deleted:
        os.kill(os.getpid(), signal.SIGKILL)
    deleted.append(unlink(*arguments, **options))
os.unlink = unlink_or_die
discard(Path(sys.argv[1]))
"""


def test_a_kill_while_a_directory_is_discarded_leaves_no_half_of_it(tmp_path: Path) -> None:
    target = tmp_path / "run"
    fill(target, "whole")
    died = subprocess.run(
        [sys.executable, "-c", DISCARD, str(target)],
        env={**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[2])},
    )
    assert died.returncode == -signal.SIGKILL
    assert not target.exists()
    assert [len(list(path.iterdir())) for path in tmp_path.iterdir()] == [1]
    files.remove_leftovers(target)
    assert not list(tmp_path.iterdir())


def test_where_names_cannot_be_exchanged_they_are_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "RENAME_EXCHANGE", 1 << 30)  # a flag that the kernel refuses
    fill(tmp_path / "model", "old")
    with whole(tmp_path / "model") as partial:
        fill(partial, "new")
    assert (tmp_path / "model" / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_writer_left_is_deleted_and_a_live_one_is_not(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here, old = files.machine(), time.time() - 2 * files.ABANDONED
    names = {
        "left": f".x.{here}-{ended.pid}.tmp",
        "left by a swap": f".x.{here}-{ended.pid}.old.tmp",
        "alive": f".x.{here}-{os.getppid()}.tmp",
        "of another file": f".xy.{here}-{ended.pid}.tmp",
        "elsewhere, long silent": ".x.abcdef-1.tmp",
        "elsewhere": ".x.abcdef-2.tmp",
    }
    for name in names.values():
        (tmp_path / name).touch()
    os.utime(tmp_path / names["elsewhere, long silent"], (old, old))
    with whole(tmp_path / "x") as partial:
        partial.touch()
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"x", names["alive"], names["of another file"], names["elsewhere"]}


@pytest.mark.parametrize(("mask", "file", "folder"), [(0o002, 0o664, 0o775), (0o077, 0o600, 0o700)])
def test_permissions_are_the_umasks(tmp_path: Path, mask: int, file: int, folder: int) -> None:
    """safetensors writes files that only their owner reads; on a shared disk that is a loss."""
    before = os.umask(mask)
    try:
        save_file({"x": torch.zeros(1)}, tmp_path / "alone")
        assert (tmp_path / "alone").stat().st_mode & 0o777 == 0o600
        with whole(tmp_path / "model") as partial:
            partial.mkdir(mode=0o700)
            save_file({"x": torch.zeros(1)}, partial / "weights")
    finally:
        os.umask(before)
    assert (tmp_path / "model").stat().st_mode & 0o777 == folder
    assert (tmp_path / "model" / "weights").stat().st_mode & 0o777 == file


def test_jsonl_returns_what_was_written(tmp_path: Path) -> None:
    rows = [{"a": 1}, {"a": "é"}]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert read_jsonl(tmp_path / "rows.jsonl") == rows


def test_hash_of_a_directory_depends_on_names_and_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "d" / "a.json", 1)
    first = sha256(tmp_path / "d")
    (tmp_path / "d" / "a.json").rename(tmp_path / "d" / "b.json")
    assert sha256(tmp_path / "d") != first
