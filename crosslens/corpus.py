"""The mixed corpus: tokenized, packed and jointly shuffled once, then cut into shards of rows."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from transformers import PreTrainedTokenizerBase

from crosslens.errors import InputError
from crosslens.files import whole
from crosslens.progress import track

HELDOUT = "heldout"
ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant"}


class Corpus(NamedTuple):
    """Packed token ids, shuffled, and where each row came from."""

    rows: np.ndarray  # uint32 [rows, sequence_length]
    source: np.ndarray  # uint8 [rows]: index into `names`
    names: list[str]
    hash: str


def build_corpus(
    sources: dict[str, Path],
    tokenizer: PreTrainedTokenizerBase,
    *,
    tokens: int,
    sequence_length: int,
    seed: int,
) -> Corpus:
    """Equal shares of tokens from each source, in packed rows without padding, jointly shuffled.

    Raises InputError naming the file when a source has too few tokens or no text column.
    """
    count = tokens // len(sources) // sequence_length
    packed = [
        pack(path, tokenizer, count=count, sequence_length=sequence_length)
        for path in sources.values()
    ]
    order = np.random.default_rng(seed).permutation(count * len(sources))
    rows = np.concatenate(packed)[order]
    source = np.repeat(np.arange(len(sources), dtype=np.uint8), count)[order]
    digest = hashlib.sha256(rows.tobytes()).hexdigest()
    return Corpus(rows, source, list(sources), digest)


def pack(
    path: Path, tokenizer: PreTrainedTokenizerBase, *, count: int, sequence_length: int
) -> np.ndarray:
    """The first `count` rows of a source: its texts one after the other, each ended by eos."""
    wanted, found = count * sequence_length, 0
    parts: list[np.ndarray] = []  # arrays: a list of 200 million Python integers takes 8 GB
    for row in track(lines(path), f"tokenizing {path.name}", unit="texts"):
        if found >= wanted:
            break
        parts.append(np.array(document(text_of(row, tokenizer, path), tokenizer), dtype=np.uint32))
        found += len(parts[-1])
    if found < wanted:
        raise InputError(
            f"{path}: {found} tokens, but corpus.tokens and corpus.heldout_tokens ask for "
            f"{wanted} from each source: lower them or give a larger file"
        )
    return np.concatenate(parts)[:wanted].reshape(count, sequence_length)


def lines(path: Path) -> Iterator[dict]:
    """The rows of a JSON-lines file, one at a time: a corpus need not fit into memory."""
    with path.open() as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield parse(line, path, number)


def parse(line: str, path: Path, number: int) -> dict:
    """One row. Raises InputError naming file and line when it is not a JSON object."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        row = None
    if not isinstance(row, dict):
        raise InputError(f"{path}, line {number}: not a JSON object")
    return row


def document(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """A text's ids between bos and eos, where the tokenizer has them and the text does not."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    start = [bos] if bos is not None and ids[:1] != [bos] else []
    end = [eos] if eos is not None and ids[-1:] != [eos] else []
    return start + ids + end


def text_of(row: dict, tokenizer: PreTrainedTokenizerBase, path: Path) -> str:
    """A row's text: RedPajama's `text`, or OpenThoughts' `conversations` by the chat template."""
    if "text" in row:
        return row["text"]
    if "conversations" not in row:
        raise InputError(
            f"{path}: neither a column text nor conversations; it has {', '.join(row)}"
        )
    turns = [
        {"role": ROLES.get(turn["from"], turn["from"]), "content": turn["value"]}
        for turn in row["conversations"]
    ]
    if row.get("system"):
        turns.insert(0, {"role": "system", "content": row["system"]})
    if tokenizer.chat_template is None:
        return "\n".join(turn["content"] for turn in turns)
    return tokenizer.apply_chat_template(turns, tokenize=False)


def write_corpus(corpus: Corpus, path: Path, *, heldout_rows: int, shards: int) -> None:
    """Write corpus.h5: the first rows are held out, the rest is cut into equal shards.

    Equal, so that the number of training steps is known beforehand; fewer than `shards` rows are
    left over. Raises InputError when there are too few rows.
    """
    shard_rows = (len(corpus.rows) - heldout_rows) // shards
    if shard_rows < 1 or heldout_rows < 1:
        raise InputError(
            f"corpus: {len(corpus.rows)} sequences, {heldout_rows} of them held out, do not fill "
            f"{shards} shards: raise corpus.tokens or corpus.heldout_tokens"
        )
    with whole(path) as partial, h5py.File(partial, "w") as file:
        file["rows"] = corpus.rows
        file["source"] = corpus.source
        file.attrs["sources"] = corpus.names
        file.attrs["hash"] = corpus.hash
        file.attrs["heldout_rows"] = heldout_rows
        file.attrs["shard_rows"] = shard_rows
        file.attrs["shards"] = shards


def read_shard(path: Path, shard: str) -> tuple[np.ndarray, str]:
    """Token ids [rows, sequence_length] of a shard (a number or "heldout"), and the corpus hash."""
    with h5py.File(path) as file:
        heldout, size = int(file.attrs["heldout_rows"]), int(file.attrs["shard_rows"])
        start, stop = (
            (0, heldout)
            if shard == HELDOUT
            else (heldout + int(shard) * size, heldout + (int(shard) + 1) * size)
        )
        return file["rows"][start:stop], file.attrs["hash"]


def batches(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Consecutive batches of rows."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def distinct(rows: np.ndarray) -> set[bytes]:
    """The different sequences among rows, as hashes."""
    return {hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows}


def distinct_training_sequences(path: Path) -> int:
    """How many different sequences all training shards together hold.

    Counting within each shard would miss a corpus that repeats itself from shard to shard.
    """
    with h5py.File(path) as file:
        shards = range(int(file.attrs["shards"]))
    return len(set().union(*(distinct(read_shard(path, str(shard))[0]) for shard in shards)))
