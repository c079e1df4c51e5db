"""Answers that vLLM samples: asked as the harness asks, graded and written as the harness's own."""

import json
from pathlib import Path

import pytest
from tiny_models import letter_tokenizer, tiny_network

from crosslens.config.sections import EvaluationConfig
from crosslens.evaluation.answers import (
    engine_arguments,
    given_answer,
    read_answers,
    requests,
)
from crosslens.evaluation.harness import Model, outcomes, run, tasks_of
from crosslens.io.errors import InputError
from crosslens.io.records import write_jsonl
from crosslens.models.sampling import stop_token_ids, stop_tokens_of

REPEATS = 3


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """Write a benchmark in AIME24's columns."""
    path = tmp_path / "aime24.jsonl"
    rows = [{"Problem": f"a {letter}", "Answer": letter} for letter in "bcd"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    tiny_network().save_pretrained(tmp_path / "model")
    letter_tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def evaluated(model: Model, problems: Path) -> list[dict]:
    settings = EvaluationConfig(
        math={"aime24": {"repeats": REPEATS}}, max_new_tokens=5, files={"aime24": str(problems)}
    )
    with tasks_of(settings, ["aime24"]) as tasks:
        return outcomes("aime24", run(model, tasks, math=True)["aime24"], REPEATS)


def test_given_answers_are_graded_and_kept_as_sampled_ones(problems: Path, tmp_path: Path) -> None:
    """The harness asks in its own prompts; an answer to any other prompt is refused."""
    tokenizer = letter_tokenizer()
    model = Model(pretrained=tiny_network(), tokenizer=tokenizer, batch_size=4, max_length=64)
    sampled = evaluated(model, problems)
    asked = requests(problems, REPEATS, tokenizer)
    assert [(r["doc_id"], r["repetition"]) for r in sampled] == [request[:2] for request in asked]
    answers = [
        {"task": "aime24", **request._asdict(), "response": row["response"]}
        for request, row in zip(asked, sampled, strict=True)
    ]
    write_jsonl(tmp_path / "answers.jsonl", answers[::-1])
    model.answers = read_answers([tmp_path / "answers.jsonl"])
    assert evaluated(model, problems) == sampled


def test_every_answer_has_a_seed_of_its_own(problems: Path) -> None:
    asked = requests(problems, 1000, letter_tokenizer())
    assert [request.seed for request in asked[:3]] == [1234, 1235, 1236]
    assert len({request.seed for request in asked}) == 3000


def test_a_missing_answer_or_one_to_another_prompt() -> None:
    answers = {("aime24", 0, 1): {"prompt": "1 + 1", "response": "2"}}
    assert given_answer(answers, "aime24", 0, 1, "1 + 1") == "2"
    for repetition, prompt in ((0, "1 + 1"), (1, "1 + 2")):
        with pytest.raises(InputError, match=f"answer {repetition} to problem 0 is missing"):
            given_answer(answers, "aime24", 0, repetition, prompt)


def test_the_engine_has_room_for_what_is_asked_within_the_context(
    checkpoint: Path, capsys: pytest.CaptureFixture
) -> None:
    config = tiny_network().config
    context = config.max_position_embeddings
    assert engine_arguments(checkpoint, 3, 5)["max_model_len"] == 8
    assert capsys.readouterr().out == ""
    assert engine_arguments(checkpoint, 3, context)["max_model_len"] == context
    assert f"context ends answers at {context} tokens" in capsys.readouterr().out
    with pytest.raises(InputError, match=f"is too short for a math prompt of {context} tokens"):
        engine_arguments(checkpoint, context, 5)


@pytest.mark.parametrize("declared", [None, 5, [5, 6]])
def test_answers_end_at_the_same_tokens_whoever_samples(checkpoint: Path, declared) -> None:
    network, tokenizer = tiny_network(), letter_tokenizer()
    network.generation_config.eos_token_id = declared
    network.generation_config.save_pretrained(checkpoint)
    assert stop_tokens_of(checkpoint, tokenizer) == stop_token_ids(network, tokenizer)


def test_without_settings_of_generation_the_configuration_declares_the_end(checkpoint) -> None:
    (checkpoint / "generation_config.json").unlink()
    loaded = type(tiny_network()).from_pretrained(checkpoint)
    tokenizer = letter_tokenizer()
    assert stop_tokens_of(checkpoint, tokenizer) == stop_token_ids(loaded, tokenizer)
