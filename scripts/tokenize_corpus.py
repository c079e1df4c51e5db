"""Tokenize, pack and jointly shuffle the mixed corpus, once per family."""

from pathlib import Path

from crosslens.config.sections import CorpusConfig
from crosslens.data.corpus import build_corpus, write_corpus
from crosslens.data.datasets import files_of
from crosslens.models.tokenizer import load_tokenizer
from crosslens.workflow.job import run_job


def main(*, model: Path, corpus: CorpusConfig, shards: int, seed: int, out: Path) -> None:
    """Write corpus.h5 with the held-out rows first."""
    sources = {name: files_of(source) for name, source in corpus.sources.items()}
    length, heldout = corpus.sequence_length, corpus.heldout_tokens
    built = build_corpus(
        sources,
        load_tokenizer(model),
        tokens=corpus.tokens,
        heldout_tokens=heldout,
        sequence_length=length,
        seed=seed,
    )
    heldout_rows = heldout // len(sources) // length * len(sources)
    write_corpus(built, out, heldout_rows=heldout_rows, shards=shards)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        model=snakemake.input.model,
        corpus=snakemake.params.corpus,
        shards=snakemake.params.shards,
        seed=snakemake.params.seed,
        out=snakemake.output.corpus,
    )
