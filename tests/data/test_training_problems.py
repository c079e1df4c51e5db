"""The list of training problems: what is kept, what is dropped and why, on the hub's columns."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from crosslens.data.training_problems import select, words
from crosslens.io.errors import InputError
from crosslens.io.records import read_json, read_jsonl, sha256, write_json, write_jsonl

LONG = "a train leaves the town at noon and drives north at forty miles an hour until it stops"
MATH = [  # EleutherAI/hendrycks_math: the answer is in the solution
    {"problem": "What is $1+1$?", "level": "Level 1", "solution": "It is $\\boxed{2}$."},
    {"problem": "No answer", "level": "Level 1", "solution": "Clear."},
    {"problem": "Halve $\\frac{6}{2}$.", "solution": "$\\boxed{3}$, no: $\\boxed{\\frac{3}{2}}$"},
]
DEEPSCALER = [
    {"problem": "what is 1 + 1 ?", "answer": "2", "solution": ""},
    {"problem": "What is $1+1$?", "answer": "3", "solution": ""},
    {"problem": "What is $1-1$?", "answer": "0", "solution": ""},
    {"problem": f"On Monday, {LONG}. Where?", "answer": "5", "solution": ""},
    {"problem": "How many primes are there below 10?", "answer": "4", "solution": ""},
]
AIME24 = [{"ID": "2024-I-1", "Problem": "How many primes are there below $10$?", "Answer": 4}]
MATH500 = [{"problem": f"On Friday, {LONG}. When?", "answer": "5", "subject": "Algebra"}]


def test_what_is_kept_and_why_the_rest_is_not() -> None:
    chosen = select(
        {"math": MATH, "deepscaler": DEEPSCALER}, {"math500": MATH500, "aime24": AIME24}, 13
    )
    assert chosen.problems == [
        {"problem": "What is $1+1$?", "answer": "2", "source": "math"},
        {"problem": "Halve $\\frac{6}{2}$.", "answer": "\\frac{3}{2}", "source": "math"},
        {"problem": "What is $1-1$?", "answer": "0", "source": "deepscaler"},
    ]
    assert chosen.counts["math"] == {"rows": 3, "kept": 2, "without_problem_or_answer": 1}
    assert chosen.counts["deepscaler"] == {
        "rows": 5,
        "repeated": 1,
        "repeated_with_another_answer": 1,
        "kept": 1,
        "in_math500": 1,
        "in_aime24": 1,
    }


def test_a_longer_run_of_words_lets_a_problem_pass() -> None:
    assert len(select({"d": DEEPSCALER[3:4]}, {"math500": MATH500}, 30).problems) == 1


def test_signs_count_as_words() -> None:
    assert words("$1+1$") == words("1 + 1") != words("1 - 1")
    assert words("$x_{12}$") == ("x", "_", "{", "12", "}")


@pytest.fixture
def settings(tmp_path: Path) -> dict:
    """The four data sets in the hub's files."""
    for folder in ("algebra", "geometry"):
        (tmp_path / "math" / folder).mkdir(parents=True)
        part = MATH[:2] if folder == "algebra" else MATH[2:]
        for split in ("train", "test"):
            path = tmp_path / "math" / folder / f"{split}-00000-of-00001.parquet"
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(part), path)
    write_json(tmp_path / "deepscaler.json", DEEPSCALER)
    write_jsonl(tmp_path / "test.jsonl", MATH500)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(AIME24), tmp_path / "aime.parquet")
    return {
        "sources": {
            "math": {"dataset": str(tmp_path / "math"), "files": "*/train-*.parquet"},
            "deepscaler": str(tmp_path / "deepscaler.json"),
        },
        "exclude": {
            "math500": str(tmp_path / "test.jsonl"),
            "aime24": {"dataset": str(tmp_path / "aime.parquet")},
        },
        "ngram": 13,
        "count": [3, 3],
    }


@pytest.fixture
def prepare(monkeypatch, tmp_path: Path):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "scripts")

    def run(settings: dict) -> None:
        __import__("prepare_problems").main(
            settings=settings, out=tmp_path / "p.jsonl", manifest=tmp_path / "p.json"
        )

    return run


def test_the_manifest_holds_counts_and_hashes(settings, prepare, tmp_path: Path) -> None:
    prepare(settings)
    manifest = read_json(tmp_path / "p.json")
    assert manifest["problems"] == len(read_jsonl(tmp_path / "p.jsonl")) == 3
    assert manifest["sha256"] == sha256(tmp_path / "p.jsonl")
    assert manifest["counts"]["math"]["kept"] == 2
    assert manifest["files"]["exclude"]["math500"] == {
        "test.jsonl": sha256(tmp_path / "test.jsonl")
    }
    assert len(manifest["files"]["sources"]["math"]) == 2


def test_another_number_than_promised_is_refused(settings, prepare, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"3 problems are left, .* promises 4 to 9 \(math: 3 rows"):
        prepare(settings | {"count": [4, 9]})
    assert not (tmp_path / "p.jsonl").exists()
