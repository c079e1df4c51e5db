"""Count the corpus's tokens by what happened to them, and check that all variants read the same."""

from pathlib import Path

from crosslens.activations.token_accounting import summarize_tokens
from crosslens.data.corpus import distinct_training_sequences
from crosslens.io.records import read_json, write_json
from crosslens.workflow.job import run_job


def main(*, corpus: Path, counts: list[Path], tokens_requested: int, out: Path) -> None:
    """Write data-path.json from the corpus and the counts of each model on each shard."""
    shards = {
        (variant, path.stem.removeprefix("shard-")): by_shard
        for path in counts
        for variant, by_shard in read_json(path).items()
    }
    write_json(out, summarize_tokens(shards, tokens_requested, distinct_training_sequences(corpus)))


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        corpus=snakemake.input.corpus,
        counts=snakemake.input.counts,
        tokens_requested=snakemake.params.tokens,
        out=snakemake.output[0],
    )
