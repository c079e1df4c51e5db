"""Load tokenizers as their own files describe them, under any release of transformers."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from crosslens.io.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(path: Path) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a model directory, as its tokenizer.json describes it.

    From transformers 5.10 on, AutoTokenizer replaces the word splitting of tokenizer.json by that
    of a built-in class for some architectures, such as Qwen2. A directory without tokenizer.json is
    left to AutoTokenizer.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if (Path(path) / "tokenizer.json").is_file():
        # Without a class that says otherwise it would return token_type_ids, which models refuse.
        names = ["input_ids", "attention_mask"]
        return PreTrainedTokenizerFast.from_pretrained(path, model_input_names=names)
    return AutoTokenizer.from_pretrained(path)


def require_chat_template(tokenizer: "PreTrainedTokenizerBase", path: Path) -> None:
    """Raise InputError for a tokenizer without a chat template."""
    if not tokenizer.chat_template:
        raise InputError(
            f"{path}: its tokenizer has no chat template, which math sets and training need. Add "
            "chat_template.jinja, or set evaluation.math: {} if nothing is trained."
        )


@lru_cache(maxsize=4)
def end_of_turn(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return what the chat template puts after an assistant's last answer."""
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "(answer)"}]
    return tokenizer.apply_chat_template(turns, tokenize=False).rpartition("(answer)")[2]


def turn_end_tokens(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return the special token with which the chat template ends an answer; none without one."""
    if not tokenizer.chat_template:
        return []
    text, added = end_of_turn(tokenizer).strip(), tokenizer.added_tokens_decoder
    return [id for id, token in added.items() if token.special and text.startswith(token.content)]
