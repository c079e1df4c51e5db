"""A directory appears when it is complete; an interrupted job's files wait for the next run."""

from pathlib import Path

import pytest

from crosslens.io.errors import InputError
from crosslens.io.resumable_directory import resumable_directory


def interrupted(path: Path, identity: dict, *names: str) -> None:
    """Write some files, and fail."""
    with pytest.raises(KeyboardInterrupt), resumable_directory(path, identity) as folder:
        for name in names:
            (folder / name).write_text(name)
        raise KeyboardInterrupt


def test_it_appears_at_the_end_of_the_block(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with resumable_directory(out, {"seed": 0}) as folder:
        (folder / "a").write_text("a")
        assert not out.exists()
    assert [file.name for file in out.iterdir()] == ["a"]
    assert list(tmp_path.iterdir()) == [out]


def test_the_same_run_continues_and_another_starts_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupted(out, {"seed": 0}, "a")
    assert not out.exists()
    with resumable_directory(out, {"seed": 0}) as folder:
        assert (folder / "a").read_text() == "a"
    interrupted(out, {"seed": 0}, "b")
    assert [file.name for file in out.iterdir()] == ["a"]  # the earlier result
    with resumable_directory(out, {"seed": 1}) as folder:
        assert not (folder / "b").exists()
    assert not list(out.iterdir())


def test_an_error_of_the_user_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError), resumable_directory(tmp_path / "out", {"seed": 0}) as folder:
        (folder / "a").write_text("a")
        raise InputError("disk: full")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_writer_left_is_deleted(tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupted(out, {"seed": 0}, ".a.h5.abcdef-1.tmp", "b")
    with resumable_directory(out, {"seed": 0}):
        pass
    assert [file.name for file in out.iterdir()] == ["b"]
