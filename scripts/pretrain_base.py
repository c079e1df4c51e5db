"""Pretrain the world's base model from scratch."""

from pathlib import Path

import pandas as pd

from crosslens.io.atomic import atomic_write
from crosslens.io.records import write_csv
from crosslens.models.tokenizer import load_tokenizer
from crosslens.synthetic.facts import World
from crosslens.synthetic.pretraining import Schedule, base_rows, build_model, save, train
from crosslens.workflow.job import run_job


def main(*, tokenizer: Path, world: dict, seed: int, model: Path, loss: Path) -> None:
    """Write documents, train on them once, save the model and its loss."""
    words = load_tokenizer(tokenizer)
    sizes = world["base"]
    count, length = sizes["steps"] * sizes["batch_size"], sizes["sequence_length"]
    shares = {key: sizes[key] for key in ("careful_share", "tag_share")}
    rows = base_rows(words, World(seed, world["max_operations"]), seed, count, length, **shares)
    schedule = Schedule(sizes["steps"], sizes["batch_size"])
    network = build_model(world["architecture"], world["model"], words, seed)
    records = train(network, rows, schedule)
    write_csv(loss, pd.DataFrame(records))
    with atomic_write(model) as partial:
        facts = {"seed": seed, "max_operations": world["max_operations"]}
        save(network, words, facts, partial)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        tokenizer=snakemake.input.tokenizer,
        world=snakemake.params.world,
        seed=snakemake.params.seed,
        model=snakemake.output.model,
        loss=snakemake.output.loss,
    )
