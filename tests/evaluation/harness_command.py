"""Compare evaluate_model with lm-eval's own command line, question by question.

    export PYTHONPATH=.
    .venvs/analysis/bin/python tests/evaluation/harness_command.py STUDY FAMILY/VARIANT [OPTION...]

STUDY is the directory of a finished study, such as results/real. An OPTION is one of the command,
such as `--limit 16`. Each task is written as YAML: the harness's own file, which it includes, over
the study's local file. `python -m lm_eval run` scores it with the harness's own code, in float32,
as the workflow does on a CPU.

Math sets are left out, as their answers are sampled. test_harness_command.py compares greedy ones.
"""

import runpy
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import yaml

from crosslens.evaluation.harness import local, math_config
from crosslens.evaluation.harness_files import task_file
from crosslens.io.records import read_json, read_jsonl

BATCH_SIZE = 8  # requests of the command's forward pass
PROTOCOL = math_config("", repeats=1, temperature=0.0, max_new_tokens=1)
FUNCTIONS = ("doc_to_text", "doc_to_target", "process_results")  # the YAML of a math set names them
doc_to_text, doc_to_target, process_results = (PROTOCOL[name] for name in FUNCTIONS)


class Function(str):
    """The name of a function that the harness imports."""


class Dumper(yaml.SafeDumper):
    """Writes YAML with the harness's tag for functions."""


Dumper.add_representer(Function, lambda dumper, name: dumper.represent_scalar("!function", name))


class Comparison(NamedTuple):
    """One task, by evaluate_model and by the command."""

    task: str
    questions: int
    ours: float  # accuracy on these questions
    command: float
    differing: list[int]  # documents that one of them alone answers correctly


def choice_task(task: str) -> dict[str, Any]:
    """Return a multiple-choice task: the harness's own file."""
    return {"include": str(task_file(task))}


def greedy_task(task: str, max_new_tokens: int) -> dict[str, Any]:
    """Return a math set by the study's protocol, answered once and greedily."""
    config = math_config(task, repeats=1, temperature=0.0, max_new_tokens=max_new_tokens)
    config["generation_kwargs"]["do_sample"] = False
    return config | {name: Function(f"{Path(__file__).stem}.{name}") for name in FUNCTIONS}


def run_command(
    model: Path, tasks: dict[str, dict], files: dict[str, Path], batch_size: int, *options: str
) -> tuple[dict[str, float], dict[str, list[dict]]]:
    """Return the accuracies of `python -m lm_eval run`, and its records of every document, by task.

    `tasks` are configurations by name, `files` their local files.
    """
    with TemporaryDirectory() as folder:
        cache, out = Path(folder, "cache"), Path(folder, "out")
        for name, config in tasks.items():
            text = yaml.dump(local(config, files[name].resolve(), cache), Dumper=Dumper)
            Path(folder, f"{name}.yaml").write_text(text)
        command = ["lm_eval", "run", "--model", "hf", "--device", "cpu", *options]
        command += ["--model_args", f"pretrained={model},dtype=float32"]
        command += ["--tasks", *(f"{folder}/{name}.yaml" for name in tasks)]
        command += ["--batch_size", str(batch_size), "--log_samples", "--output_path", str(out)]
        with patch.object(sys, "argv", command):
            runpy.run_module("lm_eval", run_name="__main__")
        results = read_json(next(out.rglob("results_*.json")))["results"]
        records = {name: read_jsonl(next(out.rglob(f"samples_{name}_*.jsonl"))) for name in tasks}
    return {
        name: results[name][f"{metric_of(rows[0])},{rows[0]['filter']}"]
        for name, rows in records.items()
    }, records


def metric_of(record: dict[str, Any]) -> str:
    """Return what a record's outcome is called: `acc`, or a math set's only repetition."""
    return "acc" if "acc" in record else "repetition_0"


def compare(task: str, rows: list[dict], accuracy: float, records: list[dict]) -> Comparison:
    """Compare rows of samples.jsonl with the records that the command logged of a task.

    Raises ValueError where a record's document is not among those of the rows.
    """
    ours = {(r["doc_id"], r["doc_hash"]): r["correct"] for r in rows if r["task"] == task}
    right = {(r["doc_id"], r["doc_hash"]): int(r[metric_of(r)]) for r in records}
    if not right.keys() <= ours.keys():
        raise ValueError(f"{task}: the command was given other documents.")
    differing = [document for document in right if right[document] != ours[document]]
    share = sum(ours[document] for document in right) / len(right)
    return Comparison(task, len(right), share, accuracy, [number for number, _ in differing])


def compare_choices(
    evaluation: Path, model: Path, files: Path, batch_size: int, *options: str
) -> list[Comparison]:
    """Compare all multiple-choice tasks of what evaluate_model wrote to `evaluation`.

    `files` has each task's rows, in {task}.jsonl. `options` are further ones of the command.
    """
    summary = read_json(evaluation / "results.json")["tasks"]
    choices = [task for task, entry in summary.items() if entry["kind"] == "choice"]
    tasks = {task: choice_task(task) for task in choices}
    places = {task: files / f"{task}.jsonl" for task in choices}
    accuracies, records = run_command(model, tasks, places, batch_size, *options)
    rows = read_jsonl(evaluation / "samples.jsonl")
    return [compare(task, rows, accuracies[task], records[task]) for task in choices]


def main(study: Path, name: str, *options: str) -> None:
    """Print a line for each task of a model."""
    places = study / "evaluation" / name, study / "models" / name, study / "data" / "benchmarks"
    print("| model | task | questions | evaluate_model | command | other outcome |")
    for task, questions, ours, command, differing in compare_choices(*places, BATCH_SIZE, *options):
        line = f"{name} | {task} | {questions} | {ours:.6f} | {command:.6f} | {differing}"
        print(f"| {line} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
