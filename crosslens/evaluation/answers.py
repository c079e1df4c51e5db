"""Answers to math problems that vLLM samples in a separate job: requests, rows, look-up.

A row has task, doc_id (the problem's index in its file), repetition, prompt (as text, in the chat
template), response, tokens, ended.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from crosslens.data.conversations import prompt_text
from crosslens.data.grading import user_message
from crosslens.evaluation.benchmark_rows import field
from crosslens.io.errors import InputError
from crosslens.io.records import read_jsonl
from crosslens.models.loading import load_config

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SEED = 1234  # Evalchemy's; repetition i adds i
PROBLEM_SEEDS = 1000  # between two problems: the most repetitions that there can be

Answers = Mapping[tuple[str, int, int], dict[str, Any]]  # task, doc_id, repetition -> row


class Request(NamedTuple):
    """A request for one answer: repetition `repetition` of problem `doc_id` of the benchmark."""

    doc_id: int
    repetition: int
    prompt: str

    @property
    def seed(self) -> int:
        """Return this answer's seed, which no other answer to the benchmark has."""
        return SEED + self.repetition + PROBLEM_SEEDS * self.doc_id


def requests(problems: Path, repeats: int, tokenizer: "PreTrainedTokenizerBase") -> list[Request]:
    """Return a request for each repetition of each problem of a file, as the harness prompts."""
    messages = [user_message(field(row, "problem")) for row in read_jsonl(problems)]
    prompts = [prompt_text(tokenizer, [{"role": "user", "content": m}]) for m in messages]
    return [Request(i, k, text) for i, text in enumerate(prompts) for k in range(repeats)]


def engine_arguments(model: Path, prompt: int, max_new_tokens: int) -> dict[str, Any]:
    """Return the arguments of vLLM's engine if the longest prompt has `prompt` tokens.

    The dtype is the one that transformers' models have here. The context holds the longest prompt
    and answer, but is at most the model's own context, at which vLLM ends an answer. Raises
    InputError if a prompt does not fit.
    """
    context = load_config(model).get_text_config().max_position_embeddings
    if prompt >= context:
        raise InputError(
            f"{model}: its context of {context} tokens is too short for a math prompt of {prompt} "
            "tokens. Remove the set from evaluation.math."
        )
    if prompt + max_new_tokens > context:
        print(f"the model's context ends answers at {context} tokens, the prompt included")
    return {
        "dtype": "bfloat16" if torch.cuda.is_available() else "float32",
        "max_model_len": min(context, prompt + max_new_tokens),
    }


def read_answers(files: Iterable[Path]) -> Answers:
    """Return the answers that rule generate_answers wrote, by task, document and repetition."""
    rows = [row for file in files for row in read_jsonl(file)]
    return {(row["task"], row["doc_id"], row["repetition"]): row for row in rows}


def given_answer(answers: Answers, task: str, doc_id: int, repetition: int, prompt: str) -> str:
    """Return the response to a prompt of the harness.

    Raises InputError if it is missing or answers another prompt.
    """
    row = answers.get((task, doc_id, repetition))
    if row is None or row["prompt"] != prompt:
        raise InputError(
            f"answers/{task}.jsonl: answer {repetition} to problem {doc_id} is missing. "
            "Delete the file and run again."
        )
    return row["response"]
