"""Advance the states of a group of crosscoders by one shard."""

from pathlib import Path
from typing import Any

import torch

from crosslens.activations.shard_reader import files_by_variant
from crosslens.config.sections import CrosscoderConfig
from crosslens.crosscoder.group_training import train_group
from crosslens.io.atomic import atomic_write
from crosslens.io.records import write_csv
from crosslens.workflow.job import run_job


def main(
    *,
    designs: dict[str, dict[str, Any]],
    activations: list[Path],
    previous: Path | None,
    references: list[Path],
    settings: CrosscoderConfig,
    shards: int,
    states: Path,
    history: Path,
    threads: int = 1,
) -> None:
    """Train on one shard, from the previous states if there are any; on a GPU if there is one.

    `activations` are directories with a file {variant}.h5 for each model. `designs` and
    `references` are those of `train_group`. The same number of threads gives the same bits.
    """
    torch.set_num_threads(threads)
    files = files_by_variant(activations)
    with atomic_write(states) as partial:
        partial.mkdir()
        log = train_group(designs, files, previous, references, settings, shards, partial)
        write_csv(history, log)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        designs=snakemake.params.designs,
        activations=snakemake.input.activations,
        previous=snakemake.input.previous,
        references=snakemake.input.references,
        settings=snakemake.params.crosscoder,
        shards=snakemake.params.shards,
        states=snakemake.output.states,
        history=snakemake.output.history,
        threads=snakemake.threads,
    )
