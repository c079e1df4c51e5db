"""Multiple-choice questions as token ids, and a model's answers to them."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from crosslens.evaluation.split_model import SplitModel
from crosslens.evaluation.token_trees import TreeBatch
from crosslens.io.records import read_jsonl, write_jsonl


class Question(NamedTuple):
    """One question as a tree of tokens (`crosslens.evaluation.token_trees.TokenTree`).

    Its choices are the continuations of its prompt. Questions about one passage share `passage`.
    """

    task: str
    doc_id: int
    doc_hash: str
    passage: str
    prompt: list[int]
    branches: list[list[int]]
    starts: list[int]
    targets: list[list[int]]
    right: list[bool]


def final_node(question: Question) -> int:
    """Return the node of the prompt's last token, which predicts the first token of choices."""
    return min(question.starts[0], len(question.prompt) - 1)


class Answers(NamedTuple):
    """A model's answers: its choices by lm-eval's arithmetic, and float32 log-probabilities.

    `log_probs` is NaN where a question has fewer choices.
    """

    choice: Int[np.ndarray, " q"]
    log_probs: Float[np.ndarray, "q m"]


def answer(
    model: SplitModel, batch: TreeBatch, states: Float[torch.Tensor, "b t d"], m: int
) -> Answers:
    """Answer a batch from the states after the layer; `m` is the largest number of choices."""
    scores = model.scores(batch, states)
    exact = scores.exact.cpu().numpy()
    log_probs = np.full((len(exact), m), np.nan, dtype=np.float32)
    log_probs[:, : exact.shape[1]] = np.where(np.isinf(exact), np.nan, exact)
    return Answers(scores.log_probs.cpu().numpy().argmax(axis=1).astype(np.int8), log_probs)


def margins(
    log_probs: Float[np.ndarray, "q m"], right: Bool[np.ndarray, "q m"]
) -> Float[np.ndarray, " q"]:
    """Return log p(correct) - log p(best other choice), in nats.

    The margin is not finite if all or none of the choices are correct.
    """
    best = np.where(right & ~np.isnan(log_probs), log_probs, -np.inf).max(axis=1)
    other = np.where(right | np.isnan(log_probs), -np.inf, log_probs).max(axis=1)
    with np.errstate(invalid="ignore"):
        return best - other


def right_choices(questions: list[Question]) -> Bool[np.ndarray, "q m"]:
    """Return which choices of each question are correct."""
    correct = np.zeros((len(questions), max(len(q.right) for q in questions)), dtype=bool)
    for row, question in zip(correct, questions, strict=True):
        row[: len(question.right)] = question.right
    return correct


def write_questions(path: Path, questions: Iterable[Question]) -> None:
    """Write one question per line."""
    write_jsonl(path, [question._asdict() for question in questions])


def read_questions(path: Path) -> list[Question]:
    """Read what `write_questions` wrote."""
    return [Question(**row) for row in read_jsonl(path)]
