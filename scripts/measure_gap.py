"""Measure what remains of the tuned models' gains when the trio's reconstruction is spliced in."""

from pathlib import Path

import pandas as pd
import torch

from crosslens.analysis.gap_test import gap_table, spliced_choices
from crosslens.analysis.question_table import benchmark_of
from crosslens.config.sections import ActivationsConfig, EvaluationConfig
from crosslens.crosscoder.model import Crosscoder
from crosslens.evaluation.questions import read_questions
from crosslens.evaluation.split_model import load_split
from crosslens.io.records import write_csv
from crosslens.workflow.job import run_job

DRAWS = 1000  # of the bootstrap


def main(
    *,
    crosscoder: Path,
    models: list[Path],
    questions: Path,
    table: Path,
    evaluation: EvaluationConfig,
    activations: ActivationsConfig,
    seed: int,
    out: Path,
) -> None:
    """Write gap.csv. `models` are the crosscoder's models, in its order."""
    torch.set_num_threads(1)
    trio, asked = Crosscoder.load_frozen(crosscoder), read_questions(questions)
    choice = spliced_choices(
        trio,
        lambda i: load_split(models[i], trio.metadata["layer"]),
        asked,
        batch_size=evaluation.batch_size,
        skip_positions=activations.skip_positions,
        sink_threshold=activations.sink_threshold,
    )
    benchmark = benchmark_of(pd.read_csv(table), asked, evaluation.tasks, evaluation.heldout_tasks)
    write_csv(out, gap_table(benchmark, choice, draws=DRAWS, seed=seed))


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        crosscoder=snakemake.input.crosscoder,
        models=snakemake.input.models,
        questions=snakemake.input.questions,
        table=snakemake.input.table,
        evaluation=snakemake.params.evaluation,
        activations=snakemake.params.activations,
        seed=snakemake.params.seed,
        out=snakemake.output[0],
    )
