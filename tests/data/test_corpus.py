"""Packing, shuffling and cutting of the corpus."""

import json
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
import pytest
from real_material import FAMILIES, real, written_prompt
from tiny_models import BOS, EOS, FIRST, LETTERS, letter_tokenizer

from crosslens.data.corpus import (
    HELDOUT,
    build_corpus,
    distinct,
    distinct_training_sequences,
    document,
    pack,
    read_shard,
    text_of,
    write_corpus,
)
from crosslens.data.datasets import rows, shuffled_rows
from crosslens.io.errors import InputError
from crosslens.models.tokenizer import load_tokenizer

A, B, C = FIRST, FIRST + 1, FIRST + 2


def write_text(path: Path, *texts: str) -> Path:
    """Write a JSON-lines file with RedPajama's column."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def random_texts(count: int, seed: int, length: int = 20) -> list[str]:
    """Return texts of random letters."""
    chosen = np.random.default_rng(seed).choice(list(LETTERS), (count, length))
    return [" ".join(row) for row in chosen]


@pytest.fixture
def sources(tmp_path):
    """One source of the letters a to m, one of n to z."""
    low = [t.translate({i: i - 13 for i in range(110, 123)}) for t in random_texts(40, 0)]
    high = [t.translate({i: i + 13 for i in range(97, 110)}) for t in random_texts(40, 1)]
    return {
        "reasoning": [write_text(tmp_path / "low.jsonl", *low)],
        "general": [write_text(tmp_path / "high.jsonl", *high)],
    }


def build(sources, seed=0, tokens=600, heldout=200):
    return build_corpus(
        sources,
        letter_tokenizer(),
        tokens=tokens,
        heldout_tokens=heldout,
        sequence_length=10,
        seed=seed,
    )


def test_texts_are_packed_one_after_the_other_without_padding(tmp_path):
    path = write_text(tmp_path / "t.jsonl", "a b", "c", "b a c")
    packed = pack(rows([path]), letter_tokenizer(), count=2, sequence_length=4, name="t")
    assert packed.rows.tolist() == [[A, B, EOS, C], [EOS, B, A, C]]
    assert packed.skipped == 0


def test_rows_without_a_text_are_skipped_and_counted(tmp_path, capsys):
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"text": "a b"}\n{"text": null}\n{"text": " "}\n{}\n\n{"text": "half \\ud83d"}\n'
        '{"conversations": []}\n{"conversations": [{"from": "user", "value": null}]}\n'
        '{"text": "c\u2028a"}\n{"text": "b"}\n'
    )
    packed = pack(rows([path]), letter_tokenizer(), count=2, sequence_length=4, name="t")
    assert packed.rows.tolist() == [[A, B, EOS, C], [A, EOS, B, EOS]]
    assert packed.skipped == 6
    assert "corpus.sources.t: 6 rows without text were skipped" in capsys.readouterr().err


def test_documents_are_bounded_by_the_special_tokens_the_tokenizer_has():
    assert document("a b", letter_tokenizer()) == [A, B, EOS]
    assert document("a b", letter_tokenizer(bos=True)) == [BOS, A, B, EOS]
    assert document("<bos> a <eos>", letter_tokenizer(bos=True)) == [BOS, A, EOS]


def test_conversations_go_through_the_chat_template():
    row = {
        "system": "s",
        "conversations": [
            {"from": "user", "value": "a b"},
            {"from": "assistant", "value": "c"},
        ],
    }
    assert text_of(row, letter_tokenizer(), "t") == "s a b c <eos>"
    assert text_of(row | {"system": ""}, letter_tokenizer(), "t") == "a b c <eos>"


def test_sources_have_equal_shares_and_are_shuffled_together(sources):
    corpus = build(sources)
    assert corpus.rows.shape == (80, 10)
    assert np.bincount(corpus.source).tolist() == [40, 40]
    ordinary = corpus.rows >= FIRST
    low = (corpus.rows < FIRST + 13) | ~ordinary
    assert (low.all(axis=1) == (corpus.source == 0)).all()
    halves = [int((corpus.source[20:50] == s).sum()) for s in (0, 1)]
    assert min(halves) > 7


def test_held_out_and_training_rows_hold_equal_shares(sources):
    """Appendix A.1: exactly as many training tokens of one source as of the other."""
    corpus = build(sources)
    assert np.bincount(corpus.source[:20]).tolist() == [10, 10]
    assert np.bincount(corpus.source[20:]).tolist() == [30, 30]


def test_the_seed_decides_which_documents_come_and_in_which_order(sources):
    first, again, other = build(sources), build(sources), build(sources, seed=1)
    assert first.hash == again.hash != other.hash


def test_shards_are_equal_disjoint_and_cover_the_corpus(sources, tmp_path):
    corpus = build(sources)
    write_corpus(corpus, tmp_path / "corpus.h5", heldout_rows=20, shards=3)
    parts = [read_shard(tmp_path / "corpus.h5", s)[0] for s in (HELDOUT, "0", "1", "2")]
    assert [len(part) for part in parts] == [20, 20, 20, 20]
    assert (np.concatenate(parts) == corpus.rows).all()
    assert read_shard(tmp_path / "corpus.h5", "1")[1] == corpus.hash


def test_a_sequence_that_comes_back_in_another_shard_counts_once(sources, tmp_path):
    corpus = build(sources)
    again = corpus.rows.copy()
    again[50:] = again[20:50]
    write_corpus(corpus._replace(rows=again), tmp_path / "c.h5", heldout_rows=20, shards=2)
    assert distinct_training_sequences(tmp_path / "c.h5") == len(np.unique(again[20:50], axis=0))


def test_the_corpus_file_names_its_sources(sources, tmp_path):
    write_corpus(build(sources), tmp_path / "c.h5", heldout_rows=20, shards=2)
    with h5py.File(tmp_path / "c.h5") as file:
        assert list(file.attrs["sources"]) == ["reasoning", "general"]
        assert list(file.attrs["skipped_rows"]) == [0, 0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"content": "a"}',
            "a row has neither of the columns text and conversations, only content",
        ),
        ("[1]", "line 2: not a JSON object"),
        ("{", "line 2: not a JSON object"),
    ],
)
def test_a_source_that_cannot_be_read_is_named(tmp_path, line, message):
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps({"text": "a"}) + "\n" + line + "\n")
    with pytest.raises(InputError, match=message) as error:
        pack(rows([path]), letter_tokenizer(), count=5, sequence_length=4, name="s")
    assert (str(path) if "line" in message else "corpus.sources.s") in str(error.value)


def test_a_source_that_is_too_small_is_named_with_both_numbers(sources):
    with pytest.raises(
        InputError, match=r"reasoning: the source has 840 tokens.*need 1100 from each"
    ):
        build(sources, tokens=2000)


def test_too_few_sequences_for_the_shards(sources, tmp_path):
    with pytest.raises(InputError, match="80 sequences, 78 of them held out, do not fill 3"):
        write_corpus(build(sources), tmp_path / "c.h5", heldout_rows=78, shards=3)
    assert not (tmp_path / "c.h5").exists()


def written(family: str, row: dict) -> str:
    """Return a row of the real sources as a document, by the family's published template."""
    _, _, after, start, _, end = FAMILIES[family]
    if "text" in row:
        return (start or "") + row["text"] + end
    message, answer = (turn["value"] for turn in row["conversations"])
    return written_prompt(family, message) + answer.strip() + after.removesuffix(end) + end


@pytest.mark.parametrize("family", FAMILIES)
def test_a_corpus_of_the_real_sources_reads_as_they_do(family: str, tmp_path: Path) -> None:
    """Both sources whole and in order, without a second start or end, and without think blocks."""
    tokenizer = load_tokenizer(real(f"tokenizers/{family}"))
    sources = {
        "reasoning": [real("corpora/champ_traces.jsonl")],
        "general": [real("corpora/brown.jsonl")],
    }
    sizes = {"tokens": 16384, "heldout_tokens": 4096, "sequence_length": 256}
    corpus = build_corpus(sources, tokenizer, **sizes, seed=0)
    assert corpus.rows.shape == (64 + 16, 256)
    assert np.bincount(corpus.source[:16]).tolist() == [8, 8]
    assert np.bincount(corpus.source[16:]).tolist() == [32, 32]
    assert corpus.skipped == {"reasoning": 0, "general": 0}
    for number, (name, files) in enumerate(sources.items()):
        packed = pack(shuffled_rows(files, 0), tokenizer, count=40, sequence_length=256, name=name)
        assert distinct(packed.rows) == distinct(corpus.rows[corpus.source == number])
        documents = [written(family, row) for row in islice(shuffled_rows(files, 0), 60)]
        text = tokenizer.decode(packed.rows.ravel(), clean_up_tokenization_spaces=False)
        assert len(text) > 20_000
        assert "".join(documents).startswith(text.removesuffix("\ufffd"))
        assert "think>" not in text
        start, starts = FAMILIES[family].start, packed.rows.ravel() == tokenizer.bos_token_id
        assert starts.any() == (start is not None) and not (starts[1:] & starts[:-1]).any()
