"""lm-eval on local files: its own task code, our files; every repetition graded and kept."""

import json
from pathlib import Path

import pytest
import torch
from tiny_models import letter_tokenizer, tiny_network

from crosslens.config.sections import EvaluationConfig
from crosslens.evaluation.harness import (
    Model,
    compare_graders,
    grade,
    harness_config,
    load_model,
    outcomes,
    run,
    tasks_of,
)
from crosslens.io.errors import InputError

CHOICES = ["c d", "e", "f g"]
DOCS = [
    {
        "id": str(i),
        "question_stem": f"a {letter}",
        "choices": {"text": CHOICES, "label": ["A", "B", "C"]},
        "answerKey": "ABC"[i % 3],
    }
    for i, letter in enumerate("bcdefg")
]
PROBLEMS = [{"problem": f"a {letter}", "answer": "1"} for letter in "bcd"]


def write(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def settings(tmp_path: Path, docs: list[dict] = DOCS) -> EvaluationConfig:
    files = {
        "openbookqa": write(tmp_path / "openbookqa.jsonl", docs),
        "math500": write(tmp_path / "math500.jsonl", PROBLEMS),
    }
    return EvaluationConfig(
        batch_size=4,
        tasks=["openbookqa"],
        math={"math500": {"repeats": 3}},
        max_new_tokens=5,
        files=files,
    )


@pytest.fixture(scope="module")
def model() -> Model:
    network = tiny_network()
    return Model(pretrained=network, tokenizer=letter_tokenizer(), batch_size=4, max_length=64)


def log_likelihood(network: torch.nn.Module, context: list[int], choice: list[int]) -> float:
    ids = torch.tensor([context + choice])
    log_probs = network(ids).logits.log_softmax(-1)[0]
    places = range(len(context) - 1, len(context) + len(choice) - 1)
    return sum(log_probs[place, token].item() for place, token in zip(places, choice, strict=True))


def test_multiple_choice_equals_log_likelihoods_by_hand(model: Model, tmp_path: Path) -> None:
    with tasks_of(settings(tmp_path), ["openbookqa"]) as tasks:
        records = run(model, tasks)["openbookqa"]
    encode = model.tokenizer.encode
    for record, doc in zip(records, DOCS, strict=True):
        with torch.no_grad():
            scores = [
                log_likelihood(model.model, encode(doc["question_stem"]), encode(choice))
                for choice in CHOICES
            ]
        best = max(range(3), key=scores.__getitem__)
        assert record["acc"] == float(doc["answerKey"] == "ABC"[best])


def test_every_repetition_is_graded_and_kept(model: Model, tmp_path: Path) -> None:
    with tasks_of(settings(tmp_path), ["math500"]) as tasks:
        records = run(model, tasks, math=True)["math500"]
        again = run(model, tasks, math=True)["math500"]
    rows = outcomes("math500", records, 3)
    assert [(r["doc_id"], r["repetition"]) for r in rows] == [
        (d, i) for d in range(3) for i in range(3)
    ]
    responses = [row["response"] for row in rows]
    assert len(set(responses)) > 3, "repetitions have seeds of their own"
    assert responses == [r["response"] for r in outcomes("math500", again, 3)]


def test_a_math_set_of_another_name_is_graded_alike(model: Model, tmp_path: Path) -> None:
    found = settings(tmp_path)
    files = {name: source.dataset for name, source in found.files.items()}
    files["word_problems"] = files.pop("math500")
    renamed = EvaluationConfig(
        batch_size=4,
        tasks=["openbookqa"],
        math={"word_problems": {"repeats": 3}},
        max_new_tokens=5,
        files=files,
    )
    outcome = []
    for name, given in (("math500", found), ("word_problems", renamed)):
        with tasks_of(given, [name]) as tasks:
            outcome.append([row["filtered_resps"] for row in run(model, tasks, math=True)[name]])
    assert outcome[0] == outcome[1]


def test_grading_a_document() -> None:
    responses = [r"\boxed{0.50}", r"\boxed{0.5}", "no box"]
    assert grade("0.5", responses) == {
        "repetition_0": 1.0,
        "repetition_1": 1.0,
        "repetition_2": 0.0,
        "exact_match": pytest.approx(1 / 3),  # the harness compares text
    }


def test_two_graders_are_compared() -> None:
    same, other = (r"\boxed{1,2}", "1,2"), (r"\boxed{3}", "1,2")
    reordered, contradiction = (r"\boxed{2,1}", "1,2"), (r"\boxed{3=5}", "5")
    found = compare_graders([same, same, other, reordered, contradiction])
    assert found == (2, 1, [reordered], [contradiction])
    assert compare_graders([]) == (0, 0, [], [])


@pytest.mark.parametrize("first", [0, 3])
def test_a_missing_column_names_task_file_and_line(tmp_path: Path, first: int) -> None:
    docs = DOCS[:first] + [{k: d[k] for k in d if k != "answerKey"} for d in DOCS[first:]]
    line = f", line {first + 1}," if first else ""
    wanted = rf"^evaluation.files.openbookqa: .*openbookqa.jsonl{line} has no column answerKey"
    with (
        pytest.raises(InputError, match=wanted),
        tasks_of(settings(tmp_path, docs), ["openbookqa"]),
    ):
        pass


@pytest.mark.parametrize(("text", "wanted"), [("", "is empty"), ("{", "is not a JSON object")])
def test_an_empty_or_broken_file_is_named(tmp_path: Path, text: str, wanted: str) -> None:
    options = settings(tmp_path)
    (tmp_path / "openbookqa.jsonl").write_text(text)
    match = f"^evaluation.files.openbookqa: .*openbookqa.jsonl {wanted}"
    with pytest.raises(InputError, match=match), tasks_of(options, ["openbookqa"]):
        pass


def test_a_task_without_an_accuracy_is_named() -> None:
    sample = {"doc_id": 0, "doc_hash": "h", "exact_match": 1.0}
    with pytest.raises(InputError, match="no accuracy .acc. for gsm8k"):
        outcomes("gsm8k", [sample], None)


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(InputError, match="no task nonsense_task"):
        harness_config("nonsense_task")


def test_a_checkpoint_that_does_not_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=str(tmp_path)):
        load_model(tmp_path, 4)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    tiny_network().save_pretrained(tmp_path / "model")
    letter_tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def attempt(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run the script; it is interrupted before a task if it says so. Returns the outcomes, and the
    tasks that were evaluated."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "scripts")
    script = __import__("evaluate_model")
    evaluate_task = script.evaluate_task

    def run_script(
        out: str, *, dies_at: str = "", answers: list[Path] = (), **changes
    ) -> tuple[str, list[str]]:
        called = []

        def evaluate_or_die(model, settings, name):
            if name == dies_at:
                raise KeyboardInterrupt
            called.append(name)
            return evaluate_task(model, settings, name)

        monkeypatch.setattr(script, "evaluate_task", evaluate_or_die)
        paths = {"results": tmp_path / out / "results.json", "samples": tmp_path / out / "samples"}
        try:
            given = settings(tmp_path).model_copy(update={"heldout_tasks": []} | changes)
            script.main(model=checkpoint, settings=given, answers=answers, code=["1"], **paths)
        except KeyboardInterrupt:
            assert not any(path.exists() for path in paths.values())
            return "", called
        assert sorted(path.name for path in (tmp_path / out).iterdir()) == [
            "results.json",
            "samples",
        ]
        return paths["samples"].read_text() + paths["results"].read_text(), called

    return run_script


def test_a_killed_evaluation_goes_on_at_the_task_it_was_at(attempt) -> None:
    undisturbed, called = attempt("a")
    assert called == ["openbookqa", "math500"]
    assert attempt("b", dies_at="math500")[1] == ["openbookqa"]
    assert attempt("b") == (undisturbed, ["math500"])


def test_other_settings_take_nothing_from_a_killed_evaluation(attempt) -> None:
    attempt("b", dies_at="math500")
    assert attempt("b", temperature=0.1)[1] == ["openbookqa", "math500"]
