"""Tokenize, pack and jointly shuffle the mixed corpus, once for a family."""

from pathlib import Path

from transformers import AutoTokenizer

from crosslens.corpus import build_corpus, write_corpus


def main(*, model: Path, sources: dict[str, Path], corpus: dict, shards: int, seed: int, out: Path):
    """Write corpus.h5 with the held-out rows first."""
    length = corpus["sequence_length"]
    built = build_corpus(
        sources,
        AutoTokenizer.from_pretrained(model),
        tokens=corpus["tokens"] + corpus["heldout_tokens"],
        sequence_length=length,
        seed=seed,
    )
    write_corpus(built, out, heldout_rows=corpus["heldout_tokens"] // length, shards=shards)


if __name__ == "__main__":
    from crosslens.errors import one_line

    with one_line(snakemake.log[0]):
        names = snakemake.params.corpus["sources"]
        main(
            model=Path(snakemake.input.model),
            sources=dict(zip(names, map(Path, snakemake.input.sources), strict=True)),
            corpus=snakemake.params.corpus,
            shards=snakemake.params.activations["shards"],
            seed=snakemake.params.seed,
            out=Path(snakemake.output.corpus),
        )
