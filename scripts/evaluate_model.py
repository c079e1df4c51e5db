"""Evaluate one model on every benchmark, in one process; nothing is evaluated twice."""

from pathlib import Path

from crosslens.analysis.intervals import accuracy
from crosslens.config.sections import EvaluationConfig
from crosslens.evaluation.answers import read_answers
from crosslens.evaluation.harness import Model, load_model, outcomes, run, tasks_of
from crosslens.io.records import sha256, write_json, write_jsonl
from crosslens.io.row_journal import RowJournal
from crosslens.models.tokenizer import load_tokenizer, require_chat_template
from crosslens.workflow.job import run_job
from crosslens.workflow.provenance import installed

PACKAGES = ("lm-eval", "transformers", "torch", "mpmath")


def main(
    *,
    model: Path,
    settings: EvaluationConfig,
    answers: list[Path],
    code: list[str],
    results: Path,
    samples: Path,
) -> None:
    """Write accuracies with intervals, and every sample's outcome.

    `answers` are vLLM's answers to each math set, to be graded; without them, the model samples
    answers here. Complete tasks of an interrupted run are kept if model, settings, files and `code`
    are the same. A task's outcome does not depend on the tasks before it.
    """
    identity = {"model": str(model), "model_hash": sha256(model)}
    versions = installed(*PACKAGES)
    files = {name: sha256(source.dataset) for name, source in settings.files.items()}
    stand = {"settings": settings.plain(), "files": files, "code": code, "versions": versions}
    given = {"answers": [sha256(file) for file in answers]}
    journal = RowJournal(samples, identity | stand | given)
    done = {row["task"] for row in journal.rows}
    if done:
        print(f"kept from a previous run: {', '.join(sorted(done))}")
    names = [*settings.tasks, *settings.heldout_tasks, *settings.math]
    left = [name for name in names if name not in done]
    if settings.math.keys() & left:
        require_chat_template(load_tokenizer(model), model)
    evaluated = load_model(model, settings.batch_size) if left else None
    if evaluated and answers:
        evaluated.answers = read_answers(answers)
    for name in left:
        journal.append([evaluate_task(evaluated, settings, name)])
    rows = {row["task"]: row for row in journal.rows}
    write_jsonl(samples, [outcome for name in names for outcome in rows[name]["outcomes"]])
    summary = {name: rows[name]["summary"] for name in names}
    write_json(results, {"tasks": summary, **identity, "versions": versions})
    journal.delete()


def evaluate_task(model: Model, settings: EvaluationConfig, name: str) -> dict:
    """Return a task's outcomes and their summary."""
    math = settings.math.get(name)
    with tasks_of(settings, [name]) as tasks:
        records = run(model, tasks, math=math is not None)[name]
    by_document = outcomes(name, records, math.repeats if math else None)
    summary = accuracy(by_document) | {"kind": "math" if math else "choice"}
    if math:
        exact = [record["exact_match"] for record in records]
        summary["exact_match"] = sum(exact) / len(exact)
    return {"task": name, "outcomes": by_document, "summary": summary}


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        model=snakemake.input.model,
        settings=snakemake.params.evaluation,
        answers=snakemake.input.answers,
        code=snakemake.params.code,
        results=snakemake.output.results,
        samples=snakemake.output.samples,
    )
