"""Pretrain the synthetic teacher model from scratch."""

from pathlib import Path

import pandas as pd

from crosslens.config.sections.synthetic import SyntheticModelConfig, TeacherPretrainingConfig
from crosslens.io.atomic import atomic_write
from crosslens.io.records import write_csv
from crosslens.models.tokenizer import load_tokenizer
from crosslens.synthetic.facts import World
from crosslens.synthetic.pretraining import Schedule, build_model, save, teacher_rows, train
from crosslens.workflow.job import run_job


def main(
    *,
    tokenizer: Path,
    architecture: str,
    sizes: SyntheticModelConfig,
    pretraining: TeacherPretrainingConfig,
    max_operations: int,
    seed: int,
    model: Path,
    loss: Path,
) -> None:
    """Write documents, train on them once, save the model and its loss."""
    words = load_tokenizer(tokenizer)
    count = pretraining.steps * pretraining.batch_size
    world = World(seed, max_operations)
    rows = teacher_rows(words, world, seed, count, pretraining.sequence_length)
    schedule = Schedule(pretraining.steps, pretraining.batch_size)
    network = build_model(architecture, sizes, words, seed + 1)
    records = train(network, rows, schedule)
    write_csv(loss, pd.DataFrame(records))
    with atomic_write(model) as partial:
        facts = {"seed": seed, "max_operations": max_operations}
        save(network, words, facts, partial)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        tokenizer=snakemake.input.tokenizer,
        architecture=snakemake.params.architecture,
        sizes=snakemake.params.model,
        pretraining=snakemake.params.pretraining,
        max_operations=snakemake.params.max_operations,
        seed=snakemake.params.seed,
        model=snakemake.output.model,
        loss=snakemake.output.loss,
    )
