"""Trees of tokens give the harness's own answers: same tokens, log-probabilities and accuracies."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lm_eval.models.huggingface import HFLM
from tiny_models import letter_tokenizer, tiny_network

from crosslens.config.sections import EvaluationConfig
from crosslens.evaluation.harness import run, tasks_of
from crosslens.evaluation.harness_questions import Recorder, questions_of
from crosslens.evaluation.questions import (
    Answers,
    Question,
    answer,
    final_node,
    margins,
    read_questions,
    right_choices,
    write_questions,
)
from crosslens.evaluation.split_model import SplitModel
from crosslens.evaluation.token_trees import make_batch
from crosslens.io.errors import InputError
from crosslens.models.batching import batches

LAYER = 2
LETTERS = "bcdefghijklm"
TASKS = {
    # Choices of different lengths, one the beginning of another.
    "openbookqa": [
        {
            "id": str(i),
            "question_stem": " ".join(["a"] * (i % 4) + [letter]),
            "choices": {"text": ["c d", "c", "f g h", "e"], "label": ["A", "B", "C", "D"]},
            "answerKey": "ABCD"[i % 4],
        }
        for i, letter in enumerate(LETTERS)
    ],
    "piqa": [
        {"goal": f"a {letter}", "sol1": "b c", "sol2": "d", "label": i % 2}
        for i, letter in enumerate(LETTERS)
    ],
    # One token each: the tree has no branch.
    "commonsense_qa": [
        {
            "id": str(i),
            "question": letter,
            "choices": {"text": list("abcde"), "label": list("ABCDE")},
            "answerKey": "ABCDE"[i % 5],
        }
        for i, letter in enumerate(LETTERS)
    ],
    # Several questions about one passage.
    "sciq": [
        {
            "question": letter,
            "support": "x y" if i < 3 else "",
            **{f"distractor{j}": word for j, word in enumerate("bcd", 1)},
            "correct_answer": "e f",
        }
        for i, letter in enumerate(LETTERS)
    ],
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> EvaluationConfig:
    folder = tmp_path_factory.mktemp("tasks")
    for name, docs in TASKS.items():
        (folder / name).write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    return EvaluationConfig(math={}, files={name: str(folder / name) for name in TASKS})


@pytest.fixture(scope="module")
def questions(settings) -> list[Question]:
    recorder = Recorder(pretrained=tiny_network(), tokenizer=letter_tokenizer(), max_length=64)
    with tasks_of(settings, list(TASKS)) as tasks:
        return [q for name, task in tasks.items() for q in questions_of(recorder, name, task)]


def answers(model: SplitModel, questions: list[Question], batch_size: int) -> Answers:
    """Answers in the order of `questions`."""
    m = max(len(q.branches) for q in questions)
    choice = np.zeros(len(questions), dtype=np.int8)
    log_probs = np.full((len(questions), m), np.nan)
    for group in batches(list(range(len(questions))), batch_size):
        batch = make_batch([questions[i] for i in group])
        choice[group], log_probs[group] = answer(model, batch, model.states(batch), m)
    return Answers(choice, log_probs)


@pytest.mark.parametrize("architecture", ["qwen3", "qwen2", "llama"])
def test_a_tree_gives_the_log_probabilities_of_separate_sequences(questions, architecture) -> None:
    some = [questions[0], questions[7], questions[40]]
    found = answers(SplitModel(tiny_network(architecture), LAYER), some, 3).log_probs
    plain = tiny_network(architecture).eval()
    for row, question in zip(found, some, strict=True):
        for choice, branch in enumerate(question.branches):
            start, targets = question.starts[choice], question.targets[choice]
            with torch.no_grad():
                logits = plain(torch.tensor([question.prompt + branch])).logits[0]
            log_probs = logits.log_softmax(dim=-1)[start : start + len(targets)]
            alone = log_probs[range(len(targets)), targets].sum().item()
            assert row[choice] == pytest.approx(alone, abs=1e-4)


def test_identity_edit_gives_the_harness_outcomes(settings, questions) -> None:
    harness = HFLM(
        pretrained=tiny_network(), tokenizer=letter_tokenizer(), batch_size=32, max_length=64
    )
    with tasks_of(settings, list(TASKS)) as tasks:
        samples = run(harness, tasks)
    expected = [s for name in TASKS for s in samples[name]]
    found = answers(SplitModel(tiny_network(), LAYER), questions, 8)
    right = right_choices(questions)[np.arange(len(questions)), found.choice]
    assert right.tolist() == [bool(s["acc"]) for s in expected]
    assert 0 < right.mean() < 1
    for row, sample, question in zip(found.log_probs, expected, questions, strict=True):
        assert (question.doc_id, question.doc_hash) == (sample["doc_id"], sample["doc_hash"])
        theirs = [float(resps[0][0]) for resps in sample["resps"]]
        np.testing.assert_allclose(row[: len(theirs)], theirs, rtol=1e-4, atol=1e-4)
        assert np.isnan(row[len(theirs) :]).all()


def test_long_prompts_are_cut_on_the_left_as_the_harness_does(settings) -> None:
    network, short = tiny_network(), 4
    recorder = Recorder(pretrained=network, tokenizer=letter_tokenizer(), max_length=short)
    harness = HFLM(pretrained=network, tokenizer=letter_tokenizer(), batch_size=4, max_length=short)
    with tasks_of(settings, ["openbookqa"]) as tasks:
        found = questions_of(recorder, "openbookqa", tasks["openbookqa"])
        samples = run(harness, tasks)["openbookqa"]
    scored = answers(SplitModel(tiny_network(), LAYER), found, 5).log_probs
    theirs = [[float(resps[0][0]) for resps in sample["resps"]] for sample in samples]
    np.testing.assert_allclose(scored, theirs, rtol=1e-4, atol=1e-4)


def test_the_final_node_is_the_last_token_of_the_prompt(questions) -> None:
    question = questions[5]  # "a f": two letters
    assert question.task == "openbookqa" and len(question.prompt) >= 2
    assert final_node(question) == 1
    plain = tiny_network().model.eval()
    states = SplitModel(tiny_network(), LAYER).states(make_batch(questions[:6]))
    with torch.no_grad():
        ids = torch.tensor([question.prompt[:2]])
        alone = plain(ids, output_hidden_states=True).hidden_states[LAYER]
    torch.testing.assert_close(states[5, 1], alone[0, 1], rtol=1e-4, atol=1e-5)


def test_margins_by_hand() -> None:
    log_probs = np.log([[0.5, 0.3, 0.2], [0.5, 0.3, np.nan]])
    right = np.array([[False, True, False], [True, False, False]])
    expected = [np.log(0.3 / 0.5), np.log(0.5 / 0.3)]
    np.testing.assert_allclose(margins(log_probs, right), expected)
    two = np.array([[True, True, False]])
    np.testing.assert_allclose(margins(log_probs[:1], two), [np.log(0.5 / 0.2)])


def test_questions_about_one_passage_share_it(questions) -> None:
    passages = [q.passage for q in questions if q.task == "sciq"]
    assert len(set(passages)) == len(LETTERS) - 2 and len(set(passages[:3])) == 1


def test_questions_survive_writing(questions, tmp_path: Path) -> None:
    write_questions(tmp_path / "questions.jsonl", questions)
    assert read_questions(tmp_path / "questions.jsonl") == questions


def test_tasks_without_choices_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "math500.jsonl"
    file.write_text(json.dumps({"problem": "a b", "answer": "1"}) + "\n")
    settings = EvaluationConfig.model_validate(
        {"math": {"math500": {"repeats": 1}}, "files": {"math500": str(file)}}
    )
    recorder = Recorder(pretrained=tiny_network(), tokenizer=letter_tokenizer(), max_length=64)
    with (
        tasks_of(settings, ["math500"]) as tasks,
        pytest.raises(InputError, match="math500 is not a multiple-choice task"),
    ):
        questions_of(recorder, "math500", tasks["math500"])


@pytest.mark.parametrize("architecture", ["qwen3", "gemma2", "gemma3", "gpt_neox", "mistral"])
def test_both_parts_answer_as_the_model(architecture: str, questions: list[Question]) -> None:
    SplitModel(tiny_network(architecture), LAYER).check(make_batch(questions[:4]).ids)


def test_a_model_that_cannot_continue_from_a_layer_is_refused(questions: list[Question]) -> None:
    """GPT-2 would add positions a second time."""
    model = SplitModel(tiny_network("gpt2"), LAYER)
    with pytest.raises(InputError, match="gpt2: this architecture cannot resume"):
        model.check(make_batch(questions[:4]).ids)
