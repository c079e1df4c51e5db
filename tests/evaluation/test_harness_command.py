"""evaluate_model gives what lm-eval's own command line gives, question by question.

The model is the mini study's teacher, the questions are synthetic.
"""

from pathlib import Path

import pytest
from harness_command import compare, compare_choices, greedy_task, run_command

from crosslens.config.sections import EvaluationConfig
from crosslens.io.records import read_json, read_jsonl, write_jsonl
from crosslens.synthetic.benchmarks import benchmarks, math_problems
from crosslens.synthetic.facts import World

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
TEACHER = ROOT / "pretrained" / "teacher"
QUESTIONS, NEW_TOKENS, BATCH = 6, 48, 4


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with some rows of the multiple-choice tasks and of MATH-500."""
    folder = tmp_path_factory.mktemp("files")
    sets = benchmarks(World(0, 2), 0, math=math_problems(0, QUESTIONS, 2), questions=QUESTIONS)
    for name in sets.keys() - {"aime24", "aime25"}:
        write_jsonl(folder / f"{name}.jsonl", sets[name])
    return folder


@pytest.fixture(scope="module")
def evaluation(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what evaluate_model wrote; math is answered greedily."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(ROOT / "scripts")
        script = __import__("evaluate_model")
    settings = EvaluationConfig(
        batch_size=BATCH,
        math={"math500": {"repeats": 1}},
        temperature=0,
        max_new_tokens=NEW_TOKENS,
        files={file.stem: str(file) for file in files.iterdir()},
    )
    folder = tmp_path_factory.mktemp("evaluation")
    paths = {"results": folder / "results.json", "samples": folder / "samples.jsonl"}
    script.main(model=TEACHER, settings=settings, answers=[], code=[], **paths)
    return folder


def test_choices_are_those_of_the_command(evaluation: Path, files: Path) -> None:
    found = compare_choices(evaluation, TEACHER, files, BATCH)
    assert len(found) == 7 and all(task.questions == QUESTIONS for task in found)
    assert [task.differing for task in found] == [[]] * 7
    written = read_json(evaluation / "results.json")["tasks"]
    assert {t.task: t.command for t in found} == {t.task: t.ours for t in found}
    assert {t.task: written[t.task]["accuracy"] for t in found} == {t.task: t.ours for t in found}
    assert len({t.ours for t in found}) > 2, "else the questions distinguish nothing"


def test_greedy_answers_are_those_of_the_command(evaluation: Path, files: Path) -> None:
    name = "math500"
    rows = [row for row in read_jsonl(evaluation / "samples.jsonl") if row["task"] == name]
    task = {name: greedy_task(name, NEW_TOKENS)}
    given = {name: files / f"{name}.jsonl"}
    accuracies, records = run_command(TEACHER, task, given, BATCH, "--apply_chat_template")
    answers = {record["doc_id"]: record["filtered_resps"] for record in records[name]}
    assert {row["doc_id"]: [[row["response"]]] for row in rows} == answers
    found = compare(name, rows, accuracies[name], records[name])
    assert (found.differing, found.questions) == ([], QUESTIONS)
    assert read_json(evaluation / "results.json")["tasks"][name]["accuracy"] == found.command > 0


def test_other_documents_are_refused() -> None:
    record = {"doc_id": 0, "doc_hash": "a", "acc": 1.0}
    row = {"task": "sciq", "doc_id": 0, "doc_hash": "b", "correct": 1}
    with pytest.raises(ValueError, match="^sciq: the command was given other documents"):
        compare("sciq", [row], 1.0, [record])
