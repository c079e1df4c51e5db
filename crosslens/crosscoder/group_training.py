"""Advance a group of crosscoders by one shard, one after the other."""

from pathlib import Path
from typing import Any

import pandas as pd

from crosslens.activations.shard_reader import ShardReader
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
from crosslens.crosscoder.training_log import l0_by_step
from crosslens.models.device import best_device


def train_group(
    designs: dict[str, dict[str, Any]],
    files: dict[str, Path],
    previous: Path | None,
    references: list[Path],
    settings: CrosscoderConfig,
    shards: int,
    states: Path,
) -> pd.DataFrame:
    """Write the state of each crosscoder after the shard; return their training logs.

    Start from scratch without `previous`, the directory of states after the last shard; `states` is
    the directory for the new ones. `designs` has each crosscoder's models, inputs, activation,
    reference, seed, and whether its first pass over a shard is in file order, by its directory.
    `files` are the shard's activations of each model. `references` are the logs, of the shard
    and the one before it, of the crosscoders whose L0 BatchTopK follows. `shards` is how many
    shards there are.
    """
    logs = []
    for name, design in designs.items():
        file = f"{name}.safetensors"
        state, records = train_one(
            name,
            design,
            [files[model] for model in design["models"]],
            previous and previous / file,
            l0_by_step(references, design["reference"]),
            settings,
            shards,
        )
        save_state(state, states / file)
        logs.append(pd.DataFrame(records).assign(crosscoder=name))
    return pd.concat(logs)


def train_one(
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
            state = start_training(models, reader, settings, plan, best_device(), inputs=inputs)
        else:
            state = load_state(previous, best_device())
            check_same_origin(state, reader, previous)
        return train_shard(state, reader, plan, f"training {name}")
