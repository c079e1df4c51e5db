"""Sample a model's answers to one math benchmark through vLLM; evaluate_model grades them."""

from pathlib import Path

from crosslens.config.sections import EvaluationConfig
from crosslens.evaluation.answer_sampling import sample_answers
from crosslens.evaluation.answers import requests
from crosslens.io.records import sha256, write_json, write_jsonl
from crosslens.io.row_journal import RowJournal
from crosslens.models.tokenizer import load_tokenizer, require_chat_template
from crosslens.models.vllm_engine import PACKAGES
from crosslens.workflow.job import run_job
from crosslens.workflow.provenance import installed


def main(
    *,
    model: Path,
    problems: Path,
    task: str,
    repeats: int,
    settings: EvaluationConfig,
    code: list[str],
    gpus: int,
    answers: Path,
    versions: Path,
) -> None:
    """Write one row for each problem and repetition, and the installed packages to `versions`.

    Finished answers of an interrupted run are kept if model, problems, settings and `code` are the
    same. Each answer has its own seed, so its random numbers do not depend on other answers. In
    bfloat16, the batch can still change an answer.
    """
    tokenizer = load_tokenizer(model)
    require_chat_template(tokenizer, model)
    packages = installed(*PACKAGES)
    identity = {
        "model": sha256(model),
        "problems": sha256(problems),
        "repeats": repeats,
        "settings": settings.plain(),
        "code": code,
        "versions": packages,
    }
    journal = RowJournal(answers, identity)
    asked = requests(problems, repeats, tokenizer)
    done = {(row["doc_id"], row["repetition"]) for row in journal.rows}
    if done:
        print(f"{len(done)} of {len(asked)} answers are kept from a previous run")
    left = [request for request in asked if request[:2] not in done]
    for row in sample_answers(left, model, tokenizer, task, settings, gpus):
        journal.append([row])
    rows = sorted(journal.rows, key=lambda row: (row["doc_id"], row["repetition"]))
    print(f"{sum(row['ended'] for row in rows)} of {len(rows)} answers ended by themselves")
    write_jsonl(answers, rows)
    write_json(versions, packages)
    journal.delete()


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        model=snakemake.input.model,
        problems=snakemake.input.problems,
        task=snakemake.wildcards.task,
        repeats=snakemake.params.repeats,
        settings=snakemake.params.evaluation,
        code=snakemake.params.code,
        gpus=snakemake.resources.gpu,
        answers=snakemake.output.answers,
        versions=snakemake.output.versions,
    )
