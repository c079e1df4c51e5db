"""The list of training problems: what is kept, what is dropped and why, on the hub's columns."""

import json
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from real_material import real

from crosslens.config.sections import ProblemsConfig
from crosslens.data.training_problems import ProblemList
from crosslens.io.errors import InputError
from crosslens.io.records import read_json, read_jsonl, sha256, write_json, write_jsonl

LONG = "a train leaves the town at noon and drives north at forty miles an hour until it stops"
MATH = [  # EleutherAI/hendrycks_math: the answer is in the solution
    {"problem": "What is $1+1$?", "level": "Level 1", "solution": "It is $\\boxed{2}$."},
    {"problem": "No answer", "level": "Level 1", "solution": "Clear."},
    {"problem": "Halve $\\frac{6}{2}$.", "solution": "$\\boxed{3}$, no: $\\boxed{\\frac{3}{2}}$"},
    {"problem": f"In May, {LONG}. Who?", "solution": "$\\boxed{7}$"},
]
DEEPSCALER = [
    {"problem": "what is 1 + 1 ?", "answer": "2", "solution": ""},
    {"problem": "What is $1+1$?", "answer": "3", "solution": ""},
    {"problem": "What is $1-1$?", "answer": "0", "solution": ""},
    {"problem": "How many primes are there below 10?", "answer": "4", "solution": ""},
    {"problem": f"In June, {LONG}. Who?", "answer": "8", "solution": ""},
]
AIME24 = [{"ID": "2024-I-1", "Problem": "How many primes are there below $10$?", "Answer": 4}]
MATH500 = [{"problem": "Find the largest even prime $p$.", "answer": "2", "subject": "Algebra"}]
WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen".split()


def gathered(sources: dict, excluded: dict, ngram: int = 13) -> ProblemList:
    found = ProblemList(excluded, ngram, 0.6)
    for name, rows in sources.items():
        found.add_source(name, rows)
    return found


def test_what_is_kept_and_why_the_rest_is_not() -> None:
    found = gathered(
        {"math": MATH, "deepscaler": DEEPSCALER}, {"math500": MATH500, "aime24": AIME24}
    )
    assert [(row["source"], row["answer"]) for row in found.problems] == [
        ("math", "2"),
        ("math", "\\frac{3}{2}"),
        ("math", "7"),
        ("deepscaler", "0"),
        ("deepscaler", "8"),
    ]
    assert found.counts["math"] == {"rows": 4, "kept": 3, "without_problem_or_answer": 1}
    assert found.counts["deepscaler"] == {
        "rows": 5,
        "repeats_math": 1,
        "repeats_math_with_another_answer": 1,
        "kept": 2,
        "in_aime24": 1,
        "kept_though_near_math": 1,
    }


def test_a_longer_run_of_words_lets_a_problem_pass() -> None:
    excluded = {"math500": [{"problem": f"On Friday, {LONG}. When?"}]}
    assert not gathered({"d": DEEPSCALER[4:]}, excluded).problems
    assert len(gathered({"d": DEEPSCALER[4:]}, excluded, ngram=30).problems) == 1


def test_rows_that_are_no_problems_are_counted() -> None:
    lines = [
        '{"problem": null, "answer": "1"}',
        '{"problem": "p", "answer": null, "solution": null}',
        '{"problem": "   ", "answer": "1"}',
        "{}",
        '{"problem": "half a \\ud83d smile", "answer": "1"}',
        '{"problem": "two\u2028lines\u0085here", "answer": "1"}',
    ]
    counts = gathered({"d": map(json.loads, lines)}, {}).counts
    assert counts["d"] == {"rows": 6, "without_problem_or_answer": 4, "not_unicode": 1, "kept": 1}


def test_a_benchmark_without_the_column_is_refused() -> None:
    with pytest.raises(InputError, match="problems.exclude.gsm8k: no row has text in a column"):
        gathered({"math": MATH}, {"gsm8k": [{"prompt": "How many?", "answer": "3"}]})


@pytest.fixture
def settings(tmp_path: Path) -> ProblemsConfig:
    """Return the settings of the four data sets, in the hub's files."""
    for folder in ("algebra", "geometry"):
        (tmp_path / "math" / folder).mkdir(parents=True)
        part = MATH[:2] if folder == "algebra" else MATH[2:]
        for split in ("train", "test"):
            path = tmp_path / "math" / folder / f"{split}-00000-of-00001.parquet"
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(part), path)
    write_json(tmp_path / "deepscaler.json", DEEPSCALER)
    write_jsonl(tmp_path / "test.jsonl", MATH500)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(AIME24), tmp_path / "aime.parquet")
    return ProblemsConfig(
        sources={
            "math": {"dataset": str(tmp_path / "math"), "files": "*/train-*.parquet"},
            "deepscaler": str(tmp_path / "deepscaler.json"),
        },
        exclude={
            "math500": str(tmp_path / "test.jsonl"),
            "aime24": {"dataset": str(tmp_path / "aime.parquet")},
        },
        ngram=13,
        lcs_fraction=0.6,
        expected_count=[5, 5],
    )


def changed(settings: ProblemsConfig, **keys) -> ProblemsConfig:
    return ProblemsConfig(**settings.plain() | keys)


@pytest.fixture
def prepare(monkeypatch, tmp_path: Path):
    """Run the script; return its manifest."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "scripts")

    def run(settings: ProblemsConfig) -> dict:
        __import__("prepare_problems").main(
            settings=settings,
            seed=0,
            out=tmp_path / "p.jsonl",
            overlaps=tmp_path / "overlaps.csv",
            manifest=tmp_path / "p.json",
        )
        return read_json(tmp_path / "p.json")

    return run


def test_the_manifest_holds_counts_and_hashes(settings, prepare, tmp_path: Path) -> None:
    manifest = prepare(settings)
    assert manifest["problems"] == len(read_jsonl(tmp_path / "p.jsonl")) == 5
    assert manifest["warning"] is None
    assert manifest["sha256"] == sha256(tmp_path / "p.jsonl")
    assert manifest["counts"]["math"]["kept"] == 3
    assert manifest["files"]["exclude"]["math500"] == {
        "test.jsonl": sha256(tmp_path / "test.jsonl")
    }
    assert len(manifest["files"]["sources"]["math"]) == 2


def test_a_limit_draws_some_problems_in_their_order(settings, prepare, tmp_path: Path) -> None:
    prepare(settings)
    every = read_jsonl(tmp_path / "p.jsonl")
    manifest = prepare(changed(settings, limit=3))
    drawn = read_jsonl(tmp_path / "p.jsonl")
    assert (manifest["problems"], manifest["available"], manifest["warning"]) == (3, 5, None)
    assert len(drawn) == 3 and drawn == [row for row in every if row in drawn]


def test_another_number_than_expected_is_a_warning_with_all_counts(
    settings, prepare, tmp_path: Path
) -> None:
    warning = prepare(changed(settings, expected_count=[6, 9]))["warning"]
    assert warning.startswith(
        "problems.expected_count: 5 problems are left, but 6 to 9 are expected (math: 4"
    )
    assert "in_aime24" in warning
    write_jsonl(tmp_path / "none.jsonl", [{"problem": "p"}])
    with pytest.raises(InputError, match="problems.expected_count: 0 problems are left"):
        prepare(changed(settings, sources={"s": str(tmp_path / "none.jsonl")}))


def test_the_table_shows_the_line_between_removed_and_kept(
    settings, prepare, tmp_path: Path
) -> None:
    """Problem k of the source shares its first k words with the benchmark's."""
    write_jsonl(tmp_path / "b.jsonl", [{"problem": " ".join(WORDS * 2)}])
    problems = [
        {"problem": " ".join([*(WORDS * 2)[:k], *"abcdefghijklmnop"[: 26 - k]]), "answer": str(k)}
        for k in range(10, 26)
    ]
    write_jsonl(tmp_path / "s.jsonl", problems)
    prepare(
        changed(
            settings,
            sources={"s": str(tmp_path / "s.jsonl")},
            exclude={"b": str(tmp_path / "b.jsonl")},
        )
    )
    table = pd.read_csv(tmp_path / "overlaps.csv")
    assert table.longest_run.tolist() == [*range(25, 9, -1)]
    assert (table.verdict == "removed").sum() == 10  # from 16 words of 26 on: 0.615
    assert table.doubtful.all()
    assert table.margin.is_monotonic_decreasing


def test_real_math_loses_one_percent_to_real_benchmarks(settings, prepare, tmp_path) -> None:
    """Issue: at most 3%; by LaTeX signs as words it were 13%."""
    benchmarks = ("math500", "aime24", "aime25")
    manifest = prepare(
        changed(
            settings,
            sources={"math": str(real("problems/math_train.jsonl"))},
            exclude={name: str(real(f"benchmarks/{name}.jsonl")) for name in benchmarks},
            expected_count=[7250, 7474],
        )
    )
    counts = manifest["counts"]["math"]
    removed = sum(counts.get(f"in_{name}", 0) for name in benchmarks)
    assert manifest["warning"] is None
    assert counts["rows"] == 7474
    assert 0.005 * 7474 < removed < 0.015 * 7474
    table = pd.read_csv(tmp_path / "overlaps.csv")
    assert (table.verdict == "removed").sum() == removed
    assert table.doubtful.sum() == 20
    assert table.other_problem.notna().all()
