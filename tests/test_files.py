"""Files appear whole or not at all."""

from pathlib import Path

import pytest

from crosslens.files import read_jsonl, sha256, whole, write_json, write_jsonl


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


def test_jsonl_returns_what_was_written(tmp_path: Path) -> None:
    rows = [{"a": 1}, {"a": "é"}]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert read_jsonl(tmp_path / "rows.jsonl") == rows


def test_hash_of_a_directory_depends_on_names_and_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "d" / "a.json", 1)
    first = sha256(tmp_path / "d")
    (tmp_path / "d" / "a.json").rename(tmp_path / "d" / "b.json")
    assert sha256(tmp_path / "d") != first
