"""The problems' own solutions as traces: GSM8K's format, a box, and what is left out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from real_material import real

from crosslens.config.sections import ProblemsConfig, TracesConfig
from crosslens.data.solutions import split_solution
from crosslens.io.errors import InputError
from crosslens.io.records import read_json, read_jsonl, write_jsonl

ROOT = Path(__file__).resolve().parents[2]
GSM8K = [  # in the columns of the hub's openai/gsm8k
    {
        "question": "Natalia sold clips to 48 of her friends in April, and then she sold half as "
        "many clips in May. How many clips did Natalia sell altogether in April and May?",
        "answer": "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nNatalia sold 48+24 = "
        "<<48+24=72>>72 clips altogether in April and May.\n#### 72",
    },
    {
        "question": "What are 70 times 1,000?",
        "answer": "70*1000 = <<70*1000=70000>>70,000\n#### 70,000",
    },
]
MATH = {"problem": "Halve $3$.", "solution": "It is $\\boxed{\\frac{3}{2}}$."}
WRONG = {"problem": "What is 1 plus 1?", "answer": "2", "solution": "It is \\boxed{3}."}
BARE = {"problem": "What is 1 plus 2?", "answer": "3"}
SETTINGS = TracesConfig(backend="solutions")


@pytest.fixture
def run(monkeypatch, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Prepare problems, take their solutions and filter them; return the manifest."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    problems, parts = tmp_path / "problems.jsonl", [tmp_path / "0.jsonl", tmp_path / "1.jsonl"]

    def study(source: Path) -> dict[str, Any]:
        __import__("prepare_problems").main(
            settings=ProblemsConfig(sources={"given": str(source)}),
            seed=0,
            out=problems,
            overlaps=tmp_path / "overlaps.csv",
            manifest=tmp_path / "problems.json",
        )
        for part, out in enumerate(parts):
            __import__("generate_traces").main(
                problems=problems,
                part=part,
                out=out,
                versions=tmp_path / "versions.json",
                settings=SETTINGS.model_copy(update={"shards": 2}),
                seed=0,
                code=[],
                gpus=0,
            )
        __import__("filter_traces").main(
            traces=parts,
            problems=problems,
            sft=tmp_path / "sft",
            grpo=tmp_path / "grpo.parquet",
            manifest=tmp_path / "manifest.json",
            settings=SETTINGS,
            batch_size=2,
        )
        return read_json(tmp_path / "manifest.json")

    return study


def given(tmp_path: Path, *rows: dict) -> Path:
    write_jsonl(tmp_path / "given.jsonl", list(rows))
    return tmp_path / "given.jsonl"


def test_gsm8ks_format_is_answer_and_boxed_solution() -> None:
    answer, solution = split_solution(GSM8K[0]["answer"])
    assert answer == "72"
    assert solution == (
        "Natalia sold 48/2 = 24 clips in May.\nNatalia sold 48+24 = 72 clips altogether in April "
        "and May.\nThe answer is \\boxed{72}."
    )
    assert split_solution(GSM8K[1]["answer"]) == (
        "70000",
        "70*1000 = 70,000\nThe answer is \\boxed{70000}.",
    )
    assert split_solution("#### 5") == ("5", "The answer is \\boxed{5}.")


@pytest.mark.parametrize("text", ["", "72", "$x<<y$", "It is\n#### \nunknown", "a #### b"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert split_solution(text) == (text, "")


def test_correct_solutions_become_traces_and_all_problems_reach_rl(run, tmp_path: Path) -> None:
    manifest = run(given(tmp_path, *GSM8K, MATH, WRONG, BARE))
    assert (manifest["problems"], manifest["traces"], manifest["kept"]) == (5, 4, 3)
    assert "mean_tokens_kept" not in manifest
    traces = [row["messages"] for row in read_json(tmp_path / "sft" / "traces.json")]
    assert sorted(answer["content"].rpartition("\\boxed")[2] for _, answer in traces) == [
        "{70000}.",
        "{72}.",
        "{\\frac{3}{2}}$.",
    ]
    assert {user["content"].partition("\n")[0] for user, _ in traces} == {
        f"Problem: {text}" for text in (GSM8K[0]["question"], GSM8K[1]["question"], "Halve $3$.")
    }


def test_no_correct_solution_is_an_error(run, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="none of the problems' 1 solutions ends in a box.*problems.sources"
    ):
        run(given(tmp_path, WRONG, BARE))


def test_real_solutions(run, tmp_path: Path) -> None:
    """GSM8K's, the first of them as the hub has it; docs/training-problems.md has all of them."""
    rows = read_jsonl(real("problems/gsm8k_train.jsonl"))[:300]
    assert split_solution(GSM8K[0]["answer"]) == (rows[0]["answer"], rows[0]["solution"])
    manifest = run(given(tmp_path, *rows))
    assert [manifest[key] for key in ("problems", "traces", "kept")] == [300, 300, 300]
