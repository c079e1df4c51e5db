"""Data sets in the hub's own files: Parquet, JSON and JSON lines, in order and in random order."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from crosslens.config.sections import DatasetSource
from crosslens.data.datasets import files_of, rows, shuffled_rows
from crosslens.io.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of three kinds, in the layout of three data sets of the hub."""
    for name in ("data/train-00000-of-00002", "data/train-00001-of-00002", "metadata/train-0"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        turns = [{"from": "user", "value": name}, {"from": "assistant", "value": "b"}]
        table = pyarrow.Table.from_pylist([{"system": "s", "conversations": turns}] * 2)
        pyarrow.parquet.write_table(table, tmp_path / f"{name}.parquet")
    for name in ("arxiv", "cc_2023-06"):  # RedPajama's `meta` differs from file to file
        meta = {"url": "u"} if name == "arxiv" else "text"
        texts = [json.dumps({"text": f"{name} {i}", "meta": meta}) + "\n" for i in range(5)]
        (tmp_path / f"{name}_sample.jsonl").write_text("\n".join(texts))
    (tmp_path / "deepscaler.json").write_text(json.dumps([{"problem": "p", "answer": "1"}] * 3))
    (tmp_path / "README.md").write_text("no data")
    return tmp_path


def test_files_are_chosen_by_a_pattern(folder: Path) -> None:
    source = DatasetSource(dataset=str(folder), files="data/train-*.parquet")
    names = [path.name for path in files_of(source)]
    assert names == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    assert len(files_of(DatasetSource(dataset=str(folder)))) == 6
    assert files_of(DatasetSource(dataset=str(folder / "deepscaler.json"))) == [
        folder / "deepscaler.json"
    ]
    with pytest.raises(InputError, match=r"no file \*\.csv ends with"):
        files_of(DatasetSource(dataset=str(folder), files="*.csv"))


def test_rows_of_each_kind(folder: Path) -> None:
    parquet = list(rows(files_of(DatasetSource(dataset=str(folder), files="data/*"))))
    assert len(parquet) == 4
    assert parquet[3]["conversations"][0] == {
        "from": "user",
        "value": "data/train-00001-of-00002",
    }
    assert [row["answer"] for row in rows([folder / "deepscaler.json"])] == ["1", "1", "1"]
    lines = rows(files_of(DatasetSource(dataset=str(folder), files="*_sample.jsonl")))
    assert [row["text"] for row in lines][4:6] == ["arxiv 4", "cc_2023-06 0"]


def test_shuffled_rows_are_all_rows_mixed_over_the_files(folder: Path) -> None:
    files = files_of(DatasetSource(dataset=str(folder), files="*_sample.jsonl"))
    drawn = [[row["text"] for row in shuffled_rows(files, seed)] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert sorted(drawn[0]) == sorted(row["text"] for row in rows(files))
    assert {text.split()[0] for text in drawn[0][:5]} == {"arxiv", "cc_2023-06"}


def test_a_row_that_is_no_object_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n\n[1]\n')
    with pytest.raises(InputError, match="a.jsonl, line 3: not a JSON object"):
        list(rows([tmp_path / "a.jsonl"]))
    (tmp_path / "a.json").write_text('[{"text": "x"}, null]')
    with pytest.raises(InputError, match="a.json, entry 2: not a JSON object"):
        list(rows([tmp_path / "a.json"]))


@pytest.mark.parametrize("name", ["a.json", "a.parquet"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('[{"text": "x"')
    with pytest.raises(InputError, match=name):
        list(rows([tmp_path / name]))


def test_unusual_separators_and_a_byte_order_mark(tmp_path: Path) -> None:
    """Only a newline ends a row: U+2028, U+2029 and U+0085 may stand in a text."""
    text = "a\u2028b\u2029c\u0085d"
    (tmp_path / "a.jsonl").write_text(f'\ufeff{{"text": "{text}"}}\r\n\n{{"text": "e"}}')
    assert [row["text"] for row in rows([tmp_path / "a.jsonl"])] == [text, "e"]
    (tmp_path / "a.json").write_text(f'\ufeff [{{"text": "{text}"}}]')
    assert [row["text"] for row in rows([tmp_path / "a.json"])] == [text]
