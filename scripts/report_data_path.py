"""Add up what became of the corpus's tokens, and prove that every variant saw the same ones."""

from pathlib import Path

from crosslens.activations.token_accounting import summarize
from crosslens.data.corpus import distinct_training_sequences
from crosslens.io.records import read_json, write_json


def main(*, corpus: Path, counts: list[Path], tokens_requested: int, out: Path) -> None:
    """Write data-path.json from the corpus and the counts of every (variant, shard)."""
    shards = {
        (path.parent.name, path.stem.removeprefix("shard-")): read_json(path) for path in counts
    }
    write_json(out, summarize(shards, tokens_requested, distinct_training_sequences(corpus)))


if __name__ == "__main__":
    from crosslens.workflow.job import one_line

    with one_line(snakemake.log[0]):
        main(
            corpus=Path(snakemake.input.corpus),
            counts=[Path(path) for path in snakemake.input.counts],
            tokens_requested=snakemake.params.tokens,
            out=Path(snakemake.output[0]),
        )
