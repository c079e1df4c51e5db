"""Conversations by chat template, and what a think block is."""

import pytest
from real_material import FAMILIES, real, written_prompt
from transformers import PreTrainedTokenizerBase

from crosslens.data.conversations import (
    conversation_text,
    prompt_ids,
    prompt_text,
    with_think_block,
)
from crosslens.data.corpus import document, text_of
from crosslens.data.grading import extract_answer, user_message
from crosslens.data.traces import grpo_rows, sft_rows
from crosslens.io.records import read_jsonl
from crosslens.models.tokenizer import load_tokenizer

BLOCK = "<think>\nOne and one.\n</think>\n\nIt is \\boxed{2}."
OPEN_THOUGHTS = (
    "<|begin_of_thought|>\n\nOne and one.\n\n<|end_of_thought|>\n\n"
    "<|begin_of_solution|>\n\nIt is \\boxed{2}.\n\n<|end_of_solution|>"
)
PROBLEM = {"problem": "Compute $1+1$.", "answer": "2", "source": "s"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (BLOCK, BLOCK),
        (OPEN_THOUGHTS, BLOCK),
        ("One and one.\n</think>\n\nIt is \\boxed{2}.", BLOCK),  # <think> stood in the prompt
        ("<think>One and one.</think>It is \\boxed{2}.", BLOCK),
        ("<think>\n\n</think>\n\nIt is \\boxed{2}.", "It is \\boxed{2}."),
        (" It is \\boxed{2}.\n", "It is \\boxed{2}."),
    ],
    ids=["Qwen3", "OpenThoughts", "opened by the prompt", "without newlines", "empty", "none"],
)
def test_a_think_block_has_one_form(answer: str, expected: str) -> None:
    assert with_think_block(answer) == expected
    assert extract_answer(with_think_block(answer)) == "2"


@pytest.fixture(scope="module", params=FAMILIES)
def family(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def tokenizer(family: str) -> PreTrainedTokenizerBase:
    """Return a family's real tokenizer."""
    return load_tokenizer(real(f"tokenizers/{family}"))


def ids_of(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


def test_real_prompts_are_the_published_templates(family: str, tokenizer) -> None:
    """Traces, GRPO and math evaluation begin an answer after the same tokens."""
    for row in read_jsonl(real("benchmarks/aime25.jsonl")):
        message = user_message(row["problem"])
        text = written_prompt(family, message)
        assert prompt_text(tokenizer, [{"role": "user", "content": message}]) == text
        assert prompt_ids(tokenizer, message) == ids_of(tokenizer, text)
    starts = prompt_ids(tokenizer, "x").count(tokenizer.bos_token_id)
    assert starts == (FAMILIES[family].start is not None)


def test_real_corpus_documents_traces_and_prompts_agree(family: str, tokenizer) -> None:
    """The same problem and reasoning are the same tokens as corpus document and as SFT's trace."""
    message = user_message(PROBLEM["problem"])
    turns = [{"from": "user", "value": message}, {"from": "assistant", "value": OPEN_THOUGHTS}]
    text = text_of({"conversations": turns}, tokenizer, "reasoning")
    assert text == written_prompt(family, message) + BLOCK + FAMILIES[family].after
    trace = sft_rows([{**PROBLEM, "response": BLOCK}])[0]["messages"]
    assert conversation_text(tokenizer, trace) == text
    (row,) = grpo_rows([PROBLEM], 1)
    assert prompt_text(tokenizer, list(row["prompt"])) == written_prompt(family, message)
    ids = document(text, tokenizer)
    assert ids[: len(prompt_ids(tokenizer, message))] == prompt_ids(tokenizer, message)


def test_real_documents_begin_and_end_once(family: str, tokenizer) -> None:
    """The final token is the tokenizer's end token; a dialogue's turn ends by the template's."""
    start, turn_end, text_end = FAMILIES[family][3:]
    row = read_jsonl(real("corpora/champ_traces.jsonl"))[0]
    dialogue = document(text_of(row, tokenizer, "t"), tokenizer)
    text = document("The jury said an election produced no evidence.", tokenizer)
    for ids in (dialogue, text):
        names = tokenizer.convert_ids_to_tokens(ids)
        assert names[-1] == text_end and names[-2] != text_end
        assert names.count(start) == (start is not None)
        assert start is None or names[0] == start
    names = tokenizer.convert_ids_to_tokens(dialogue)
    assert turn_end in names[-3:]
    assert tokenizer.decode(text[:-1], skip_special_tokens=True).startswith("The jury")


def test_real_answers_without_reasoning_have_no_think_block(tokenizer) -> None:
    """Qwen3's template puts an empty block before each of them."""
    for row in read_jsonl(real("corpora/champ_traces.jsonl"))[:20]:
        text = text_of(row, tokenizer, "reasoning")
        assert "think>" not in text
        assert row["conversations"][1]["value"].strip() in text


def test_real_think_marks_survive_decoding(tokenizer) -> None:
    """Traces and completions are decoded without special tokens; the block must stay."""
    assert tokenizer.decode(ids_of(tokenizer, BLOCK), skip_special_tokens=True) == BLOCK
