"""What networks read in evaluation, with the three families' real tokenizers on real benchmarks."""

from collections.abc import Iterator

import pytest
import torch
from lm_eval.evaluator import evaluate
from real_material import FAMILIES, real, written_prompt
from tiny_models import tiny_network

from crosslens.config.sections import EvaluationConfig
from crosslens.data.grading import user_message
from crosslens.evaluation.harness import Model, tasks_of
from crosslens.evaluation.harness_questions import Recorder, questions_of
from crosslens.io.records import read_jsonl
from crosslens.models.tokenizer import load_tokenizer

pytestmark = pytest.mark.slow
CHOICES = ["arc_challenge", "openbookqa", "piqa", "commonsense_qa", "logiqa"]
SOME = [0, 3]  # documents
MATH = ["math500", "aime24", "aime25"]
SETTINGS = {"math": {name: {"repeats": 1} for name in MATH}, "max_new_tokens": 1}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(family: str) -> Model:
    """Return a random network with a family's tokenizer; `seen` has the token ids that it reads."""
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
    """Yield the harness's tasks over the real files."""
    files = {name: str(real(f"benchmarks/{name}.jsonl")) for name in [*MATH, *CHOICES]}
    settings = EvaluationConfig.model_validate(SETTINGS | {"files": files})
    with tasks_of(settings, list(files)) as found:
        yield found


def read_in(model: Model, task, math: bool) -> list[list[int]]:
    """Return the token ids of every forward pass over some documents of a task."""
    model.seen.clear()
    options = {"bootstrap_iters": 0, "apply_chat_template": math}
    evaluate(model, {"task": task}, samples={"task": SOME}, **options)
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
    options = {"tokenizer": model.tokenizer, "batch_size": 1, "max_length": 2048}
    recorder = Recorder(pretrained=model.model, **options)
    questions = questions_of(recorder, name, tasks[name])
    for ids in (questions[i].prompt for i in SOME):  # as answer_questions
        names = model.tokenizer.convert_ids_to_tokens(ids)
        assert names.count(start) == (start is not None)
        assert any(row[: len(ids)] == ids for row in seen)
