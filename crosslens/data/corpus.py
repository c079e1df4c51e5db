"""Build the mixed corpus: tokenize, pack and jointly shuffle all sources, then cut into shards."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from crosslens.data.conversations import (
    conversation_text,
    with_think_block,
    with_think_marks,
)
from crosslens.data.datasets import shuffled_rows
from crosslens.io.atomic import atomic_write
from crosslens.io.errors import InputError
from crosslens.io.hdf5 import open_hdf5, write_hdf5
from crosslens.io.progress import log, track
from crosslens.io.records import is_unicode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HELDOUT = "heldout"
ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant"}


class PackedSource(NamedTuple):
    """Packed token ids of one source, and how many of its rows had no text."""

    rows: np.ndarray  # uint32 [rows, sequence_length]
    skipped: int


class Corpus(NamedTuple):
    """Packed token ids, shuffled, and where each row came from."""

    rows: np.ndarray  # uint32 [rows, sequence_length]
    source: np.ndarray  # uint8 [rows]: index into `names`
    names: list[str]
    hash: str
    skipped: dict[str, int]  # source -> rows without a text


def build_corpus(
    sources: dict[str, list[Path]],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    tokens: int,
    heldout_tokens: int,
    sequence_length: int,
    seed: int,
) -> Corpus:
    """Build a corpus with equally many tokens of each source, in shuffled packed rows, no padding.

    Documents are drawn at random from all files of a source. The first rows are held out. Sources
    have equal numbers of tokens both there and in the other rows (appendix A.1: 200 million each).
    Raises InputError naming the source when it has too few tokens or no text column.
    """
    heldout = heldout_tokens // len(sources) // sequence_length
    train = tokens // len(sources) // sequence_length
    packed = {
        name: pack(
            shuffled_rows(files, seed),
            tokenizer,
            count=heldout + train,
            sequence_length=sequence_length,
            name=name,
        )
        for name, files in sources.items()
    }
    random = np.random.default_rng(seed)
    orders = [random.permutation(count * len(sources)) for count in (heldout, train)]
    parts = [
        [source.rows[part] for source in packed.values()]
        for part in (slice(heldout), slice(heldout, None))
    ]
    rows = np.concatenate(
        [np.concatenate(part)[order] for part, order in zip(parts, orders, strict=True)]
    )
    names = np.arange(len(sources), dtype=np.uint8)
    source = np.concatenate(
        [np.repeat(names, len(order) // len(sources))[order] for order in orders]
    )
    skipped = {name: source_rows.skipped for name, source_rows in packed.items()}
    return Corpus(rows, source, list(sources), hashlib.sha256(rows.tobytes()).hexdigest(), skipped)


def pack(
    rows: Iterable[dict],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    count: int,
    sequence_length: int,
    name: str,
) -> PackedSource:
    """Pack the first `count` rows of a source: its texts one after the other, each ended by eos.

    Rows without text are skipped and counted: empty, null, or not valid Unicode. Raises InputError
    when the source has too few tokens.
    """
    wanted, n_tokens, skipped = count * sequence_length, 0, 0
    parts: list[np.ndarray] = []  # arrays: a list of 200 million Python integers takes 8 GB
    for row in track(rows, f"tokenizing {name}", unit="texts"):
        if n_tokens >= wanted:
            break
        if (text := text_of(row, tokenizer, name)) is None:
            skipped += 1
            continue
        parts.append(np.array(document(text, tokenizer), dtype=np.uint32))
        n_tokens += len(parts[-1])
    if skipped:
        log(f"corpus.sources.{name}: {skipped} rows without text were skipped")
    if n_tokens < wanted:
        raise InputError(
            f"corpus.sources.{name}: the source has {n_tokens} tokens, but corpus.tokens and "
            f"corpus.heldout_tokens need {wanted} from each source ({skipped} rows had no text). "
            "Lower these keys, or give a larger source."
        )
    rows = np.concatenate(parts)[:wanted].reshape(count, sequence_length)
    return PackedSource(rows, skipped)


def document(text: str, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return a text's ids, with bos and eos added if the tokenizer has them and the text not."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    start = [bos] if bos is not None and ids[:1] != [bos] else []
    end = [eos] if eos is not None and ids[-1:] != [eos] else []
    return start + ids + end


def text_of(row: dict, tokenizer: "PreTrainedTokenizerBase", name: str) -> str | None:
    """Return a row's text: RedPajama's `text`, or OpenThoughts' `conversations` as a dialogue.

    None for a row without text: empty, null or not valid Unicode. Raises InputError naming the
    source for a row without these columns.
    """
    if row and not {"text", "conversations"} & set(row):
        raise InputError(
            f"corpus.sources.{name}: a row has neither of the columns text and conversations, only "
            f"{', '.join(row)}. Rename a column, or give another source."
        )
    if row.get("conversations"):
        texts = [row.get("system") or "", *(turn["value"] or "" for turn in row["conversations"])]
        complete = all(texts[1:]) and all(map(is_unicode, texts))
        return dialogue(row, tokenizer) if complete else None
    text = row.get("text") or ""
    return text if text.strip() and is_unicode(text) else None


def dialogue(row: dict, tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return a row's conversation by the chat template, with reasoning in a think block."""
    system = with_think_marks(row.get("system") or "")
    turns = [{"role": "system", "content": system}] if system else []
    for turn in row["conversations"]:
        role = ROLES.get(turn["from"], turn["from"])
        edit = with_think_block if role == "assistant" else with_think_marks
        turns.append({"role": role, "content": edit(turn["value"])})
    return conversation_text(tokenizer, turns)


def write_corpus(corpus: Corpus, path: Path, *, heldout_rows: int, shards: int) -> None:
    """Write corpus.h5: the first rows are held out, the rest is cut into equal shards.

    Shards are equal so that the number of training steps is known in advance; fewer than `shards`
    rows are left over. Raises InputError when there are too few rows.
    """
    shard_rows = (len(corpus.rows) - heldout_rows) // shards
    if shard_rows < 1 or heldout_rows < 1:
        raise InputError(
            f"corpus.tokens: {len(corpus.rows)} sequences, {heldout_rows} of them held out, do not "
            f"fill {shards} shards. Raise corpus.tokens or corpus.heldout_tokens."
        )
    with atomic_write(path) as partial, write_hdf5(partial, "w") as file:
        file["rows"] = corpus.rows
        file["source"] = corpus.source
        file.attrs["sources"] = corpus.names
        file.attrs["skipped_rows"] = list(corpus.skipped.values())  # as `sources`
        file.attrs["hash"] = corpus.hash
        file.attrs["heldout_rows"] = heldout_rows
        file.attrs["shard_rows"] = shard_rows
        file.attrs["shards"] = shards


def read_shard(path: Path, shard: str) -> tuple[np.ndarray, str]:
    """Return ids [rows, sequence_length] of a shard (number or "heldout"), and the corpus hash.

    Raises InputError when the file is damaged.
    """
    with open_hdf5(path) as file:
        heldout, size = int(file.attrs["heldout_rows"]), int(file.attrs["shard_rows"])
        start, stop = (
            (0, heldout)
            if shard == HELDOUT
            else (heldout + int(shard) * size, heldout + (int(shard) + 1) * size)
        )
        return file["rows"][start:stop], file.attrs["hash"]


def heldout_sources(path: Path) -> tuple[np.ndarray, list[str]]:
    """Return the source of each held-out sequence, an index, and the names of the sources.

    Raises InputError when the file is damaged.
    """
    with open_hdf5(path) as file:
        return file["source"][: int(file.attrs["heldout_rows"])], list(file.attrs["sources"])


def distinct(rows: np.ndarray) -> set[bytes]:
    """Return the different sequences among rows [sequences, length], as hashes of their bytes."""
    return {hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows}


def distinct_training_sequences(path: Path) -> int:
    """Return the number of different sequences in all training shards together.

    Counting per shard would miss a corpus that repeats from shard to shard.
    """
    with open_hdf5(path) as file:
        shards = range(int(file.attrs["shards"]))
    return len(set().union(*(distinct(read_shard(path, str(shard))[0]) for shard in shards)))
