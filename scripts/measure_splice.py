"""Measure the models' loss with the trio's reconstruction spliced in, on some held-out texts."""

from pathlib import Path

from crosslens.analysis.splice import measure_splice
from crosslens.config.sections import ActivationsConfig
from crosslens.crosscoder.model import Crosscoder
from crosslens.data.corpus import HELDOUT, read_shard
from crosslens.evaluation.split_model import load_split
from crosslens.io.records import write_csv
from crosslens.workflow.job import run_job


def main(
    *,
    crosscoder: Path,
    models: list[Path],
    corpus: Path,
    settings: ActivationsConfig,
    tokens: int,
    out: Path,
) -> None:
    """Write splice.csv, measured on the first `tokens` tokens of texts, which are in random order.

    `models` are the crosscoder's models, in its order.
    """
    trio, rows = Crosscoder.load_frozen(crosscoder), read_shard(corpus, HELDOUT)[0]
    table = measure_splice(
        trio,
        lambda i: load_split(models[i], trio.metadata["layer"]),
        rows[: max(1, tokens // rows.shape[1])],
        batch_size=settings.batch_size,
        skip_positions=settings.skip_positions,
        sink_threshold=settings.sink_threshold,
    )
    write_csv(out, table)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        crosscoder=snakemake.input.crosscoder,
        models=snakemake.input.models,
        corpus=snakemake.input.corpus,
        settings=snakemake.params.activations,
        tokens=snakemake.params.tokens,
        out=snakemake.output[0],
    )
