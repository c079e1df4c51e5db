"""Models can be compared where they descend from one base: same token ids, same shape."""

import hashlib
import json
from pathlib import Path

from crosslens.io.errors import InputError
from crosslens.io.records import read_json

SHAPE = ("hidden_size", "num_hidden_layers")


def check_descent(family: str, folders: list[Path]) -> None:
    """All models of a family, base first, can be compared with it; else InputError."""
    base, *others = folders
    for folder in others:
        check_shape(family, base, folder)
        if vocabulary(folder / "tokenizer.json") != vocabulary(base / "tokenizer.json"):
            raise InputError(
                f"families.{family}: the tokenizers of {base} and {folder} differ. Every "
                "variant needs the base model's."
            )


def check_shape(family: str, base: Path, folder: Path) -> None:
    """Both have as many layers of the same width; else InputError."""
    ours, theirs = (read_json(path / "config.json") for path in (folder, base))
    for key in SHAPE:
        if ours.get(key) != theirs.get(key):
            raise InputError(
                f"families.{family}: {folder} is not a descendant of {base}: its {key} is "
                f"{ours.get(key)}, not {theirs.get(key)}. Give a descendant."
            )


def vocabulary(path: Path) -> str:
    """Hash of what a tokenizer maps to token ids, added tokens included.

    Not of the file: libraries write the same vocabulary in other words. Raises InputError when the
    file is missing or no JSON object.
    """
    try:
        tokenizer = read_json(path)
    except (OSError, ValueError):
        tokenizer = None
    if not isinstance(tokenizer, dict):
        raise InputError(
            f"tokenizer: {path} is missing or is not a JSON object. Correct the model."
        )
    added = {token["content"]: token["id"] for token in tokenizer.get("added_tokens", [])}
    entries = tokenizer.get("model", {}).get("vocab", {})
    pairs = entries.items() if isinstance(entries, dict) else enumerate(map(str, entries))
    text = json.dumps([sorted(pairs, key=str), sorted(added.items())])
    return hashlib.sha256(text.encode()).hexdigest()
