"""Real benchmarks, problems, corpora and tokenizers, for the tests on machines that have them."""

from pathlib import Path
from typing import NamedTuple

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "real"


def real(name: str) -> Path:
    """Return a file or folder of the real material; without the material, skip the test."""
    if not FOLDER.is_dir():
        pytest.skip("needs real data next to the checkout, in ../shared/real")
    return FOLDER / name


class Family(NamedTuple):
    """What a family's chat template puts around one user turn and its answer, by its text."""

    before: str  # the user's message
    between: str  # message and answer
    after: str  # the answer
    start: str | None  # token that begins every text
    turn_end: str  # token that ends an answer
    text_end: str  # token that ends a document: the tokenizer's own end token


LLAMA_SYSTEM = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
FAMILIES = {  # folder of shared/real/tokenizers -> its template's text
    "qwen3": Family(
        "<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n",
        *("<|im_end|>\n", None, "<|im_end|>", "<|endoftext|>"),
    ),
    "qwen2.5": Family(
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n",
        *("<|im_end|>\n", None, "<|im_end|>", "<|endoftext|>"),
    ),
    "llama-3.1": Family(
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
        f"{LLAMA_SYSTEM}<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n",
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        *("<|eot_id|>", "<|begin_of_text|>", "<|eot_id|>", "<|eot_id|>"),
    ),
}


def written_prompt(family: str, message: str) -> str:
    """Return a user's message up to where the answer begins, by the family's published template."""
    return FAMILIES[family].before + message + FAMILIES[family].between
