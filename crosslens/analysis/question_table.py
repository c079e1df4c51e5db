"""Tabulate all questions: task, half and cell, each model's choice, and the correct answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import load_file

from crosslens.analysis.arms import Part
from crosslens.analysis.critical_samples import CELLS, HALVES, cell_of, half_of
from crosslens.analysis.feature_scores import Groups
from crosslens.analysis.outcomes import Benchmark
from crosslens.evaluation.questions import Question, right_choices
from crosslens.io.errors import InputError
from crosslens.models.device import best_device

MODELS = ("base", "sft", "rl")  # their order in the trio
MOST_DIFFERENT = 0.05  # of answers: rounding in bfloat16 turns one in a hundred, another model more


def question_table(
    questions: Sequence[Question],
    samples: Mapping[str, list[dict]],
    choices: Mapping[str, Int[np.ndarray, " q"]],
    seed: int,
) -> pd.DataFrame:
    """Return one row for each question.

    Columns: task, doc_id, doc_hash, passage, half, cell, choices (how many), and for each of
    MODELS the unedited choice and, as NAME_right, whether lm-eval counted its answer as correct.

    `samples` are the records of each model's samples.jsonl. Raises InputError when their documents
    differ, or when a model's choices agree with them too rarely to come from the same model.
    """
    rows = [
        {
            "task": q.task,
            "doc_id": q.doc_id,
            "doc_hash": q.doc_hash,
            "passage": q.passage,
            "half": half_of(q.passage, seed),
            "choices": len(q.right),
        }
        for q in questions
    ]
    table = pd.DataFrame(rows)
    right = right_choices(list(questions))
    for name in MODELS:
        correct = {(s["task"], s["doc_id"], s["doc_hash"]): s["correct"] for s in samples[name]}
        keys = [(q.task, q.doc_id, q.doc_hash) for q in questions]
        if missing := [key for key in keys if key not in correct]:
            raise InputError(
                f"{missing[0][0]}: lm-eval now has {len(missing)} questions on which {name} was "
                "not evaluated. Evaluate all models again."
            )
        table[name] = choices[name]
        table[f"{name}_right"] = [int(correct[key]) for key in keys]
        check_agreement(name, right, choices[name], table[f"{name}_right"].to_numpy() == 1)
    pairs = zip(table["base_right"], table["rl_right"], strict=True)
    table.insert(5, "cell", [cell_of(bool(b), bool(r)) for b, r in pairs])
    return table


def check_agreement(
    name: str,
    right: Bool[np.ndarray, "q m"],
    choice: Int[np.ndarray, " q"],
    expected: Bool[np.ndarray, " q"],
) -> None:
    """Raise InputError when a model's answers differ from lm-eval's too often."""
    answered = right[np.arange(len(right)), choice]
    different = int((answered != expected).sum())
    print(f"{name}: {different} of {len(right)} answers are not graded as in lm-eval")
    if different > MOST_DIFFERENT * len(right):
        raise InputError(
            f"{name}: {different} of {len(right)} answers differ from samples.jsonl, which was "
            "written with another model or other package versions. Evaluate the model again."
        )


def parts_of(table: pd.DataFrame) -> list[Part]:
    """Return the task and half of every question."""
    return list(zip(table["task"], table["half"], strict=True))


def groups_of(table: pd.DataFrame, tasks: Sequence[str]) -> tuple[Groups, Int[np.ndarray, " q"]]:
    """Return the groups of the questions of some tasks, and their rows of the table."""
    rows = np.flatnonzero(table["task"].isin(list(tasks)))
    part = table.iloc[rows]
    places = (("task", list(tasks)), ("half", list(HALVES)), ("cell", list(CELLS)))
    columns = [part[name].map(values.index).to_numpy(dtype=np.int64) for name, values in places]
    return Groups(list(tasks), *columns), rows


def states_of(
    states: Path, table: pd.DataFrame, tasks: Sequence[str]
) -> tuple[Groups, Float[torch.Tensor, "q n d"]]:
    """Read all models' final-token states on the questions of some tasks, and the groups of these.

    `states` is the file that answer_questions writes.
    """
    groups, rows = groups_of(table, tasks)
    return groups, load_file(states)["states"][rows].float().to(best_device())


def benchmark_of(
    table: pd.DataFrame,
    questions: Sequence[Question],
    tasks: Sequence[str],
    held_out: Sequence[str],
) -> Benchmark:
    """Return the questions and unedited answers as the statistics use them."""
    return Benchmark(
        tasks=list(tasks),
        held_out=list(held_out),
        task=table["task"].tolist(),
        half=table["half"].tolist(),
        passage=table["passage"].tolist(),
        right=right_choices(list(questions)),
        choices=table["choices"].to_numpy(),
        answers={name: table[name].to_numpy() for name in MODELS},
        critical=(table["cell"] == "won").to_numpy(),
    )
