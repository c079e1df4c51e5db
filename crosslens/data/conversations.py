r"""Render conversations as text and token ids, the same way for corpus, traces, prompts and SFT.

A think block is `<think>\n...\n</think>\n\n` at the start of an assistant's turn, as Qwen3 writes
it. A turn without reasoning has no think block, not even an empty one.
"""

from typing import TYPE_CHECKING

from crosslens.models.tokenizer import end_of_turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Turns = list[dict[str, str]]  # role and content of each

START, END = "<think>", "</think>"
OPEN_THOUGHTS = {  # its marks of reasoning and answer
    "<|begin_of_thought|>": START,
    "<|end_of_thought|>": END,
    "<|begin_of_solution|>": "",
    "<|end_of_solution|>": "",
}


def with_think_block(answer: str) -> str:
    """Return an assistant's answer with its reasoning, if it has one, in a think block.

    The opening mark may be missing: some templates put it into the prompt.
    """
    reasoning, end, rest = with_think_marks(answer).partition(END)
    if not end:
        return reasoning.strip()
    reasoning = reasoning.strip().removeprefix(START).strip()
    block = f"{START}\n{reasoning}\n{END}\n\n" if reasoning else ""
    return block + rest.strip()


def with_think_marks(text: str) -> str:
    """Return text with OpenThoughts' marks of reasoning replaced by those of a think block."""
    for mark, ours in OPEN_THOUGHTS.items():
        text = text.replace(mark, ours)
    return text


def conversation_text(tokenizer: "PreTrainedTokenizerBase", turns: Turns) -> str:
    """Return a conversation as a model reads and writes it: prompt, last answer, end of turn.

    The answer is not passed through the template, as templates rewrite answers: Qwen3's adds an
    empty think block to one without reasoning. Without a chat template, each turn is on a new line.
    """
    if tokenizer.chat_template is None:
        return "\n".join(turn["content"] for turn in turns)
    if turns[-1]["role"] != "assistant":
        return tokenizer.apply_chat_template(turns, tokenize=False)
    return prompt_text(tokenizer, turns[:-1]) + turns[-1]["content"] + end_of_turn(tokenizer)


def prompt_text(tokenizer: "PreTrainedTokenizerBase", turns: Turns) -> str:
    """Return a conversation up to where the assistant's answer begins."""
    return tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", message: str) -> list[int]:
    """Return the token ids of one user turn up to where the assistant's answer begins."""
    turns = [{"role": "user", "content": message}]
    return list(tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False))
