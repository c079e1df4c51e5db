"""Advance a crosscoder's state by one shard."""

from pathlib import Path

import pandas as pd
import torch

from crosslens.files import write_csv
from crosslens.shards import ShardReader
from crosslens.training import (
    Plan,
    State,
    advance,
    first_pass,
    load_state,
    optimizer_for,
    plan_steps,
    save_state,
    start,
)


def main(
    *,
    activations: list[Path],
    previous: Path | None,
    models: list[str],
    settings: dict,
    shards: int,
    seed: int,
    what: str,
    state: Path,
    log: Path,
) -> None:
    """Start at the first shard, go on from the previous state after it."""
    torch.set_num_threads(1)
    with ShardReader(activations) as reader:
        size = settings["batch_size"]
        plan = Plan(
            shards,
            plan_steps(reader.rows, size, settings["epochs"]),
            size,
            settings["beta"],
            settings["learning_rate"],
            tuple(settings["adam_betas"]),
            settings["gradient_clip"],
            settings["sparsity_warmup"],
            settings["lr_decay"],
            seed,
        )
        if previous is None:
            crosscoder = start(models, reader.d_model, settings, reader.scales, seed)
            current = State(crosscoder, optimizer_for(crosscoder, plan), 0)
        else:
            current = load_state(previous, plan)
        current.crosscoder.metadata |= {
            "layer": reader.attribute("layer")[0],
            "corpus_hash": reader.attribute("corpus_hash")[0],
            "model_hashes": reader.attribute("model_hash"),
            "distinct_tokens": current.crosscoder.metadata.get("distinct_tokens", 0)
            + first_pass(reader.kept, plan),
        }
        current, records = advance(current, reader, plan, what)
    write_csv(log, pd.DataFrame(records))
    save_state(current, state)


if __name__ == "__main__":
    from crosslens.errors import one_line

    with one_line(snakemake.log[0]):
        main(
            activations=[Path(path) for path in snakemake.input.activations],
            previous=next(map(Path, snakemake.input.previous), None),
            models=snakemake.params.models,
            settings=snakemake.params.crosscoder,
            shards=snakemake.params.shards,
            seed=snakemake.params.seed,
            what=f"training {snakemake.wildcards.crosscoder}",
            state=Path(snakemake.output.state),
            log=Path(snakemake.output.log),
        )
