"""Read all multiple-choice questions from lm-eval, and answer them with base, SFT and RL."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from crosslens.activations.extract import layer_index
from crosslens.analysis.question_table import MODELS, question_table
from crosslens.config.sections import EvaluationConfig
from crosslens.evaluation.harness import load_model, tasks_of
from crosslens.evaluation.harness_questions import Recorder, questions_of
from crosslens.evaluation.questions import Question, answer, final_node, write_questions
from crosslens.evaluation.split_model import SplitModel
from crosslens.evaluation.token_trees import largest_first, make_batch
from crosslens.io.atomic import atomic_write
from crosslens.io.progress import track
from crosslens.io.records import read_jsonl, write_csv
from crosslens.models.batching import batches
from crosslens.models.loading import load_network
from crosslens.models.transformers_light import AutoModelForCausalLM
from crosslens.workflow.job import run_job


def read(model: Path, settings: EvaluationConfig) -> list[Question]:
    """Return the questions of all tasks, tokenized for a model as the harness does."""
    recorder = load_model(model, settings.batch_size, Recorder)
    names = [*settings.tasks, *settings.heldout_tasks]
    with tasks_of(settings, names) as tasks:
        return [q for name in names for q in questions_of(recorder, name, tasks[name])]


def run_model(
    path: Path, layer: str | int, questions: list[Question], batch_size: int
) -> tuple[torch.Tensor, np.ndarray]:
    """Return a model's states at every final token [q, d_model], and its choices."""
    network = load_network(path, AutoModelForCausalLM)
    model = SplitModel(network, layer_index(network.config, layer))
    m = max(len(q.branches) for q in questions)
    choice = np.zeros(len(questions), dtype=np.int64)
    final: dict[int, torch.Tensor] = {}
    groups = list(batches(largest_first(questions), batch_size))
    for group in track(groups, f"answering questions, {path.name}", unit="batches"):
        batch = make_batch([questions[i] for i in group], model.device)
        if not final:
            model.check(batch.ids)
        states = model.states(batch)
        choice[group] = answer(model, batch, states, m).choice
        final |= {i: states[row, final_node(questions[i])].cpu() for row, i in enumerate(group)}
    return torch.stack([final[i] for i in range(len(questions))]), choice


def main(
    *,
    models: list[Path],
    samples: list[Path],
    settings: EvaluationConfig,
    layer: str | int,
    seed: int,
    questions: Path,
    table: Path,
    states: Path,
) -> None:
    """Write questions.jsonl, their table, and the models' states [q, n, d_model]."""
    torch.set_num_threads(1)
    asked = read(models[0], settings)
    runs = [run_model(path, layer, asked, settings.batch_size) for path in models]
    records = {name: read_jsonl(path) for name, path in zip(MODELS, samples, strict=True)}
    choices = {name: choice for name, (_, choice) in zip(MODELS, runs, strict=True)}
    rows = question_table(asked, records, choices, seed)
    with atomic_write(states) as partial:
        save_file({"states": torch.stack([final for final, _ in runs], dim=1)}, partial)
    write_csv(table, rows)
    write_questions(questions, asked)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        models=snakemake.input.models,
        samples=snakemake.input.samples,
        settings=snakemake.params.evaluation,
        layer=snakemake.params.layer,
        seed=snakemake.params.seed,
        questions=snakemake.output.questions,
        table=snakemake.output.table,
        states=snakemake.output.states,
    )
