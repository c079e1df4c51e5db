"""Read multiple-choice questions from lm-eval: its prompts, its tokens, its correct choices."""

import hashlib
from collections.abc import Mapping
from typing import Any

from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM

from crosslens.evaluation.harness import run
from crosslens.evaluation.questions import Question
from crosslens.evaluation.token_trees import make_tree
from crosslens.io.errors import InputError

PASSAGES = ("context", "passage", "support")  # columns of a text that several questions share


class Recorder(HFLM):
    """lm-eval's Hugging Face model that records the tokens to score instead of scoring them."""

    def _loglikelihood_tokens(self, requests: list, *args: Any, **kwargs: Any) -> list:
        self.requests = requests
        return [(0.0, False)] * len(requests)


def questions_of(recorder: Recorder, name: str, task: ConfigurableTask) -> list[Question]:
    """Return all questions of a task, tokenized by the harness, in the order of documents.

    Raises InputError when the task is not multiple-choice.
    """
    if task.OUTPUT_TYPE != "multiple_choice":
        raise InputError(
            f"evaluation.tasks: {name} is not a multiple-choice task in lm-eval "
            f"({task.OUTPUT_TYPE}). Choose another task."
        )
    samples = run(recorder, {name: task})[name]
    pending = iter(recorder.requests)
    questions = []
    for sample in samples:
        tokens = [next(pending)[1:] for _ in sample["arguments"]]
        right = right_of(task, sample["doc"], len(tokens))
        questions.append(question(name, sample, tokens[: len(right)], right, recorder.max_length))
    return questions


def question(
    name: str,
    sample: Mapping[str, Any],
    tokens: list[tuple[list[int], list[int]]],
    right: list[bool],
    max_length: int,
) -> Question:
    """Return one question from the tokens of its contexts and continuations."""
    key = (name, sample["doc_id"], sample["doc_hash"], passage(sample))
    return Question(*key, *make_tree(tokens, max_length), right)


def right_of(task: ConfigurableTask, doc: Mapping[str, Any], count: int) -> list[bool]:
    """Return which choices are correct for the harness: those that give acc 1 when most likely."""
    choices = count if task.multiple_input else len(task.doc_to_choice(doc))
    correct = []
    for choice in range(choices):
        results = [(0.0 if i == choice else -1.0, False) for i in range(count)]
        correct.append(bool(task.process_results(doc, results)["acc"]))
    return correct


def passage(sample: Mapping[str, Any]) -> str:
    """Return a hash of a document's passage, or of the document if it has none."""
    texts = [sample["doc"][column] for column in PASSAGES if sample["doc"].get(column)]
    if texts:
        return hashlib.sha256(str(texts[0]).encode()).hexdigest()[:16]
    return sample["doc_hash"][:16]
