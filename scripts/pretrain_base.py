"""Pretrain the synthetic base model from scratch."""

from pathlib import Path

import pandas as pd

from crosslens.config.sections.synthetic import BasePretrainingConfig, SyntheticModelConfig
from crosslens.io.atomic import atomic_write
from crosslens.io.records import write_csv
from crosslens.models.tokenizer import load_tokenizer
from crosslens.synthetic.facts import World
from crosslens.synthetic.pretraining import Schedule, base_rows, build_model, save, train
from crosslens.workflow.job import run_job


def main(
    *,
    tokenizer: Path,
    architecture: str,
    sizes: SyntheticModelConfig,
    pretraining: BasePretrainingConfig,
    max_operations: int,
    seed: int,
    model: Path,
    loss: Path,
) -> None:
    """Write documents, train on them once, save the model and its loss."""
    words = load_tokenizer(tokenizer)
    count = pretraining.steps * pretraining.batch_size
    rows = base_rows(
        words,
        World(seed, max_operations),
        seed,
        count,
        pretraining.sequence_length,
        reliable_fraction=pretraining.reliable_fraction,
        source_tag_fraction=pretraining.source_tag_fraction,
    )
    schedule = Schedule(pretraining.steps, pretraining.batch_size)
    network = build_model(architecture, sizes, words, seed)
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
