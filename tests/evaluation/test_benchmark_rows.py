"""Benchmarks as local files: the hub's Parquet and JSON, in the columns that lm-eval reads."""

import datetime
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from real_material import real

from crosslens.config.benchmark_columns import MATH, TASKS
from crosslens.config.sections import DatasetSource, EvaluationConfig
from crosslens.evaluation.harness import tasks_of
from crosslens.io.errors import InputError
from crosslens.io.records import read_json, read_jsonl, sha256

HEADQA = {
    "qid": "1",
    "qtext": "Which is a bone?",
    "ra": 2,
    "answers": [{"aid": 1, "atext": "skin"}, {"aid": 2, "atext": "tibia"}],
    "image": b"\x89PNG",
    "date": datetime.date(2013, 1, 1),
}


@pytest.fixture
def prepare(monkeypatch, tmp_path: Path):
    """Run the script on a Parquet file of some rows; its output and manifest."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "scripts")

    def run(
        task: str, rows: list[dict], limit: str | int = "all", *, math: bool = False
    ) -> tuple[Path, dict]:
        folder = tmp_path / "en" / "test"
        folder.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "0000.parquet")
        out = tmp_path / f"{task}.jsonl"
        __import__("prepare_benchmark").main(
            task=task,
            math=math or task in MATH,
            source=DatasetSource(dataset=str(tmp_path), files="en/test/*.parquet"),
            limit=limit,
            seed=0,
            out=out,
            manifest=tmp_path / "manifest.json",
        )
        return out, read_json(tmp_path / "manifest.json")

    return run


def document(task: str, file: Path) -> tuple[str, list[str], str]:
    """Return the first document's prompt, choices and right choice, by lm-eval's own code."""
    with tasks_of(EvaluationConfig(files={task: str(file)}), [task]) as tasks:
        found = tasks[task]
        doc = next(iter(found.eval_docs))
        return found.doc_to_text(doc), found.doc_to_choice(doc), str(found.doc_to_target(doc))


def test_a_hub_file_becomes_what_the_harness_reads(prepare) -> None:
    """HeadQA's conversion has images, which JSON does not have."""
    out, manifest = prepare("headqa_en", [HEADQA])
    assert manifest["dropped_columns"] == ["date", "image"]
    assert (manifest["rows"], manifest["sha256"]) == (1, sha256(out))
    assert list(manifest["files"]) == ["0000.parquet"]
    expected = ("Question: Which is a bone?\nAnswer:", ["skin", "tibia"], "1")
    assert document("headqa_en", out) == expected


def test_a_limit_draws_some_questions_in_their_order(prepare) -> None:
    rows = [{"goal": f"open {i}", "sol1": "key", "sol2": "spoon", "label": 0} for i in range(50)]
    drawn = {}
    for limit in (7, 20, 99):
        out, manifest = prepare("piqa", rows, limit)
        drawn[limit] = [int(row["goal"].removeprefix("open ")) for row in read_jsonl(out)]
        assert manifest["rows"] == len(drawn[limit]) == min(limit, 50)
        assert manifest["available"] == 50
    assert drawn[99] == list(range(50)) and drawn[20] == sorted(drawn[20]) != list(range(20))
    assert set(drawn[7]) < set(drawn[20])


@pytest.mark.parametrize("label", [-1, None])
def test_a_split_with_hidden_answers_is_refused(prepare, label) -> None:
    rows = [{"goal": "open it", "sol1": "key", "sol2": "spoon", "label": label}] * 2
    with pytest.raises(InputError, match="evaluation.files.piqa: 2 of 2 rows have no answer"):
        prepare("piqa", rows)


def test_a_column_that_the_harness_needs_is_missing(prepare) -> None:
    with pytest.raises(InputError, match="evaluation.files.piqa: .*has no column sol1"):
        prepare("piqa", [{"goal": "open it", "solution": "key", "label": 0}])


def test_minus_one_is_an_answer_of_a_math_set(prepare) -> None:
    """Four of MATH-500's answers are -1."""
    rows = [{"problem": f"What is {n} - {n + 1}?", "answer": "-1"} for n in range(3)]
    assert prepare("math500", rows)[1]["rows"] == 3
    with pytest.raises(InputError, match="evaluation.files.math500: 1 of 2 rows have no answer"):
        prepare("math500", [rows[0], {"problem": "What is 1?", "answer": ""}])


def test_a_math_set_of_another_name_needs_problems_and_answers(prepare) -> None:
    rows = [{"problem": "What is 1 + 1?", "answer": "2", "level": 3}]
    out, manifest = prepare("word_problems", rows, math=True)
    assert manifest["rows"] == 1
    assert read_jsonl(out) == rows
    with pytest.raises(InputError, match="evaluation.files.word_problems: 1 of 1 rows have no an"):
        prepare("word_problems", [{"problem": "What is 1 + 1?", "answer": None}], math=True)
    with pytest.raises(InputError, match="word_problems.*answer"):
        prepare("word_problems", [{"problem": "What is 1 + 1?", "solution": "2"}], math=True)


@pytest.mark.parametrize("task", ["math500", "aime24", "aime25"])
def test_real_math_sets_have_all_their_answers(prepare, task: str) -> None:
    rows = read_jsonl(real(f"benchmarks/{task}.jsonl"))
    assert prepare(task, rows)[1]["rows"] == len(rows)


REAL = ("arc_challenge", "commonsense_qa", "openbookqa", "piqa", "logiqa")


@pytest.mark.parametrize("task", REAL)
def test_real_benchmarks_survive_parquet(prepare, task: str) -> None:
    """Real rows through Parquet and back are the documents of the file itself."""
    file = real(f"benchmarks/{task}.jsonl")
    rows = read_jsonl(file)
    out, manifest = prepare(task, rows)
    assert manifest["rows"] == len(rows)
    assert [[row[c] for c in TASKS[task]] for row in read_jsonl(out)] == [
        [row[c] for c in TASKS[task]] for row in rows
    ]
    assert document(task, out) == document(task, file)
