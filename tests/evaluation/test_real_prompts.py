"""What networks read in evaluation, with the three families' real tokenizers on real benchmarks."""

from collections.abc import Iterator

import pytest
import torch
from real_material import FAMILIES, real, written_prompt
from tiny_models import tiny_network

from crosslens.data.grading import user_message
from crosslens.evaluation.harness import Model, prompts_of, run, tasks_of
from crosslens.io.records import read_jsonl
from crosslens.models.tokenizer import load_tokenizer

CHOICES = ["arc_challenge", "openbookqa", "piqa", "commonsense_qa", "logiqa"]
SOME = [0, 3]  # documents
MATH = ["math500", "aime24", "aime25"]
SETTINGS = {
    "math": {name: {"repeats": 1} for name in MATH},
    "temperature": 0.7,
    "max_new_tokens": 1,
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(family: str) -> Model:
    """A random network with a family's real tokenizer; `seen` has the token ids that it reads."""
    tokenizer = load_tokenizer(real(f"tokenizers/{family}"))
    network = tiny_network(vocab_size=len(tokenizer), layers=1)
    model = Model(pretrained=network, tokenizer=tokenizer, batch_size=1, max_length=2048)
    model.seen = []

    def note(module: torch.nn.Module, inputs: tuple) -> None:
        model.seen.append(inputs[0].flatten().tolist())

    network.get_input_embeddings().register_forward_pre_hook(note)
    return model


@pytest.fixture(scope="module")
def tasks() -> Iterator[dict]:
    """The harness's tasks over the real files."""
    files = {name: str(real(f"benchmarks/{name}.jsonl")) for name in [*MATH, *CHOICES]}
    with tasks_of(SETTINGS | {"files": files}, list(files)) as found:
        yield found


def read_in(model: Model, task, math: bool) -> list[list[int]]:
    """Return the token ids of every forward pass over some documents of a task."""
    model.seen.clear()
    run(model, {"task": task}, math=math, only={"task": SOME})
    return model.seen


@pytest.mark.parametrize("name", MATH)
def test_real_math_is_asked_as_in_training(family: str, model: Model, tasks, name: str) -> None:
    """One user turn by the chat template, as GRPO's prompts and the teacher's."""
    rows = read_jsonl(real(f"benchmarks/{name}.jsonl"))
    problems = [rows[i].get("problem") or rows[i]["Problem"] for i in SOME]
    texts = [written_prompt(family, user_message(problem)) for problem in problems]
    expected = [model.tokenizer.encode(text, add_special_tokens=False) for text in texts]
    assert sorted(read_in(model, tasks[name], math=True)) == sorted(expected)


@pytest.mark.parametrize("name", CHOICES)
def test_real_choices_and_features_read_the_same_final_token(
    family: str, model: Model, tasks, name: str
) -> None:
    """Features are scored on the last token of the prompt that the harness scores choices after."""
    start = FAMILIES[family].start
    seen = read_in(model, tasks[name], math=False)
    for prompt in prompts_of(tasks[name], SOME):
        ids = model.tokenizer.encode(prompt)  # as score_features
        names = model.tokenizer.convert_ids_to_tokens(ids)
        assert prompt.endswith(model.tokenizer.decode(ids[-1]))
        assert names.count(start) == (start is not None)
        assert any(row[: len(ids)] == ids for row in seen)
