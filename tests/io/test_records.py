"""JSON and JSON lines are read back as written; hashes identify content."""

from pathlib import Path

import pytest

from crosslens.io.errors import InputError
from crosslens.io.records import read_json, read_jsonl, sha256, write_json, write_jsonl


def test_jsonl_round_trip(tmp_path: Path) -> None:
    rows = [{"a": 1}, {"a": "é"}]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert read_jsonl(tmp_path / "rows.jsonl") == rows


def test_directory_hash_depends_on_names_and_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "d" / "a.json", 1)
    first = sha256(tmp_path / "d")
    (tmp_path / "d" / "a.json").rename(tmp_path / "d" / "b.json")
    assert sha256(tmp_path / "d") != first


def test_broken_json_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InputError, match=r"a.json: not JSON \(.*\). Correct the file"):
        read_json(tmp_path / "a.json")
    (tmp_path / "b.jsonl").write_text("{}\n[1]\n")
    with pytest.raises(InputError, match="b.jsonl, line 2: not a JSON object. Correct the file"):
        read_jsonl(tmp_path / "b.jsonl")
