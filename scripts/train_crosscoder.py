"""Advance a crosscoder's state by one shard."""

from pathlib import Path

import pandas as pd
import torch

from crosslens.activations.shard_reader import ShardReader
from crosslens.config.sections import CrosscoderConfig
from crosslens.crosscoder.schedules import make_plan
from crosslens.crosscoder.training import (
    check_same_origin,
    load_state,
    save_state,
    start_training,
    train_shard,
)
from crosslens.io.records import write_csv
from crosslens.workflow.job import run_job


def steps_and_l0(histories: list[Path]) -> list[tuple[int, float]]:
    """Return steps, from 0, and the L0 of each, from a crosscoder's log, which counts from 1."""
    tables = [pd.read_csv(path) for path in histories]
    return [
        (step - 1, l0)
        for table in tables
        for step, l0 in zip(table["step"], table["l0"], strict=True)
    ]


def main(
    *,
    activations: list[Path],
    previous: Path | None,
    reference: list[Path],
    models: list[str],
    inputs: str,
    activation: str,
    settings: CrosscoderConfig,
    shards: int,
    seed: int,
    what: str,
    state: Path,
    history: Path,
    threads: int = 1,
) -> None:
    """Start at the first shard, go on from the previous state after it; on a GPU if there is one.

    `reference` are the histories, up to this shard, of the crosscoder whose L0 BatchTopK follows.
    The same number of threads gives the same bits.
    """
    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with ShardReader(activations) as reader:
        plan = make_plan(
            settings,
            rows=reader.rows,
            shards=shards,
            seed=seed,
            batch_topk=settings.batch_topk if activation == "batch_topk" else None,
            reference=steps_and_l0(reference),
        )
        if previous is None:
            current = start_training(models, reader, settings, plan, device, inputs=inputs)
        else:
            current = load_state(previous, device)
            check_same_origin(current, reader, previous)
        current, records = train_shard(current, reader, plan, what)
    write_csv(history, pd.DataFrame(records))
    save_state(current, state)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        activations=snakemake.input.activations,
        previous=snakemake.input.previous,
        reference=snakemake.input.reference,
        models=snakemake.params.models,
        inputs=snakemake.params.inputs,
        activation=snakemake.params.activation,
        settings=snakemake.params.crosscoder,
        shards=snakemake.params.shards,
        seed=snakemake.params.seed,
        what=f"training {snakemake.wildcards.crosscoder}",
        state=snakemake.output.state,
        history=snakemake.output.history,
        threads=snakemake.threads,
    )
