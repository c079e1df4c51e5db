"""Pretrain the world's teacher model from scratch."""

from pathlib import Path

import pandas as pd

from crosslens.io.atomic import atomic_write
from crosslens.io.records import write_csv
from crosslens.models.tokenizer import load_tokenizer
from crosslens.synthetic.facts import World
from crosslens.synthetic.pretraining import Schedule, build_model, save, teacher_rows, train
from crosslens.workflow.job import run_job


def main(*, tokenizer: Path, world: dict, seed: int, model: Path, loss: Path) -> None:
    """Write documents, train on them once, save the model and its loss."""
    words = load_tokenizer(tokenizer)
    sizes = world["teacher"]
    count, length = sizes["steps"] * sizes["batch_size"], sizes["sequence_length"]
    rows = teacher_rows(words, World(seed, world["max_operations"]), seed, count, length)
    schedule = Schedule(sizes["steps"], sizes["batch_size"])
    network = build_model(world["architecture"], world["model"], words, seed + 1)
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
