"""Check that models descend from one base and so can be compared: same token ids, same shape."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crosslens.io.errors import InputError
from crosslens.io.records import read_json

WEIGHTS = "*.safetensors"  # pytorch_model.bin is a pickle, which may run code
SHAPE = ("hidden_size", "num_hidden_layers")
# GPT-2's names of what other architectures call otherwise.
ALIASES = {
    "n_embd": "hidden_size",
    "n_head": "num_attention_heads",
    "n_layer": "num_hidden_layers",
    "n_positions": "max_position_embeddings",
}


def with_common_names(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a config.json under the names that most architectures have."""
    return {ALIASES.get(name, name): value for name, value in fields.items()}


def check_same_tokenizer_and_shape(family: str, folders: list[Path]) -> None:
    """Raise InputError unless all models of a family can be compared with the first, its base."""
    base, *others = folders
    for folder in others:
        check_shape(family, base, folder)
        check_token_ids(family, base, folder)


def check_shape(family: str, base: Path, folder: Path) -> None:
    """Raise InputError unless both models have the same number of layers and the same width."""
    ours, theirs = (with_common_names(read_json(path / "config.json")) for path in (folder, base))
    for key in SHAPE:
        if ours.get(key) != theirs.get(key):
            raise InputError(
                f"families.{family}: {folder} is not a descendant of {base}: its {key} is "
                f"{ours.get(key)}, not {theirs.get(key)}. Give a model trained from {base}."
            )


def check_token_ids(family: str, base: Path, folder: Path) -> None:
    """Raise InputError unless a tokenizer has the base's token ids and otherwise only added tokens.

    Tokens that were added to a descendant, such as those of a chat template, leave base's ids as
    is.
    """
    if base == folder:
        return
    (words, added), (base_words, base_added) = map(token_ids, (folder, base))
    theirs = base_words | base_added
    same = theirs.items() <= (words | added).items()
    if not same or words.keys() - theirs.keys() - added.keys():
        raise InputError(
            f"families.{family}: the tokenizers of {base} and {folder} differ. Give a model with "
            "the base model's tokenizer; it may have additional tokens."
        )


def token_ids(folder: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Return token -> id for a tokenizer's vocabulary and for its added tokens.

    Files cannot be compared directly, because libraries write one vocabulary in different ways.
    Raises InputError if tokenizer.json is missing or not a JSON object.
    """
    path = folder / "tokenizer.json"
    try:
        tokenizer = read_json(path)
    except (OSError, ValueError):
        tokenizer = None
    if not isinstance(tokenizer, dict):
        raise InputError(
            f"tokenizer: {path} is missing or not a JSON object. Restore this file of the model."
        )
    added = {token["content"]: token["id"] for token in tokenizer.get("added_tokens", [])}
    words = tokenizer.get("model", {}).get("vocab", {})
    if not isinstance(words, dict):  # of Unigram: pairs of a token and its score
        words = {str(entry): index for index, entry in enumerate(words)}
    return words, added
