"""Advance the states of a group of crosscoders by one shard."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from crosslens.activations.shard_reader import ShardReader, files_by_variant
from crosslens.config.sections import CrosscoderConfig
from crosslens.crosscoder.schedules import make_plan
from crosslens.crosscoder.training import (
    TrainingState,
    check_same_origin,
    load_state,
    save_state,
    start_training,
    train_shard,
)
from crosslens.crosscoder.training_log import read_log
from crosslens.io.atomic import atomic_write
from crosslens.io.records import write_csv
from crosslens.workflow.job import run_job


def steps_and_l0(histories: list[Path], name: str | None) -> list[tuple[int, float]]:
    """Return steps, from 0, and the L0 of each; a log counts from 1. Nothing for no crosscoder."""
    if name is None:
        return []
    log = read_log(histories, name)
    return list(zip(log["step"] - 1, log["l0"], strict=True))


def train(
    name: str,
    design: dict[str, Any],
    files: list[Path],
    previous: Path | None,
    reference: list[tuple[int, float]],
    settings: CrosscoderConfig,
    shards: int,
) -> tuple[TrainingState, list[dict]]:
    """Return a crosscoder's state after the shard, and its training log.

    `reference` has steps, from 0, and the L0 of the crosscoder that BatchTopK follows.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    topk = design["activation"] == "batch_topk"
    with ShardReader(files) as reader:
        plan = make_plan(
            settings,
            rows=reader.rows,
            shards=shards,
            seed=design["seed"],
            in_order=design["in_order"],
            batch_topk=settings.batch_topk if topk else None,
            reference=reference,
        )
        if previous is None:
            models, inputs = design["models"], design["inputs"]
            state = start_training(models, reader, settings, plan, device, inputs=inputs)
        else:
            state = load_state(previous, device)
            check_same_origin(state, reader, previous)
        return train_shard(state, reader, plan, f"training {name}")


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
    """Start at the first shard, go on from the previous states after it; on a GPU if there is one.

    `activations` are directories with a file of each model, {variant}.h5.
    `designs` has each crosscoder's models, inputs, activation, reference, seed, and whether its
    first pass over a shard is in file order, by its directory.
    `references` are the logs, up to this shard, of the crosscoders whose L0 BatchTopK follows. The
    same number of threads gives the same bits.
    """
    torch.set_num_threads(threads)
    files = files_by_variant(activations)
    logs = []
    with atomic_write(states) as partial:
        partial.mkdir()
        for name, design in designs.items():
            file = f"{name}.safetensors"
            state, records = train(
                name,
                design,
                [files[model] for model in design["models"]],
                previous and previous / file,
                steps_and_l0(references, design["reference"]),
                settings,
                shards,
            )
            save_state(state, partial / file)
            logs.append(pd.DataFrame(records).assign(crosscoder=name))
        write_csv(history, pd.concat(logs))


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
