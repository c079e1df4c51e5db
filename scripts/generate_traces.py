"""Write a worked solution for each problem of one part: the teacher's or the problem's own."""

from pathlib import Path

from crosslens.config.sections import TracesConfig
from crosslens.data.hub import model_directory, model_identity
from crosslens.data.teacher import sampler
from crosslens.data.traces import (
    read_problems,
    sample_traces,
    solutions_as_traces,
    without_solution,
)
from crosslens.io.records import sha256, write_json, write_jsonl
from crosslens.io.row_journal import RowJournal
from crosslens.models.vllm_engine import PACKAGES
from crosslens.workflow.job import run_job
from crosslens.workflow.provenance import installed

SEEDS = 1_000_003  # between two shares: more than the problems of one


def main(
    *,
    problems: Path,
    part: int,
    out: Path,
    versions: Path,
    settings: TracesConfig,
    seed: int,
    code: list[str],
    gpus: int,
) -> None:
    """Write one row per problem of a part: its columns, response, tokens, ended.

    Part number `part` is every `shards`-th problem. The installed packages go to `versions`. The
    problems' own solutions have no `tokens`, and a problem without a solution has no row. Complete
    batches of an interrupted run are kept if teacher, problems, settings, seed and `code` are the
    same.
    """
    rows = read_problems(problems)[part :: settings.shards]
    if settings.backend == "solutions":
        traces = solutions_as_traces(rows)
        write_jsonl(out, traces)
        write_json(versions, installed())
        print(f"{len(traces)} of {len(rows)} problems have a solution")
        return
    teacher = model_directory(settings.teacher, settings.revision)
    packages = installed(*PACKAGES)
    identity = {
        "teacher": model_identity(teacher, settings.revision),
        "problems": sha256(problems),
        "part": part,
        "seed": seed,
        "settings": settings.plain(),
        "code": code,
        "versions": packages,
    }
    journal = RowJournal(out, identity)
    draw = sampler(
        teacher,
        gpus=gpus,
        backend=settings.backend,
        temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens,
        options=settings.vllm_sampling,
        engine=settings.vllm_engine,
    )
    sample_traces(rows, journal, draw, settings.batch_size, (seed + SEEDS * part) % 2**31)
    sampled = {row.pop("row"): row for row in journal.rows}
    write_jsonl(out, [{**without_solution(row), **sampled[i]} for i, row in enumerate(rows)])
    write_json(versions, packages)
    journal.delete()


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        problems=snakemake.input.problems,
        part=snakemake.wildcards.part,
        out=snakemake.output.traces,
        versions=snakemake.output.versions,
        settings=snakemake.params.traces,
        seed=snakemake.params.seed,
        code=snakemake.params.code,
        gpus=snakemake.resources.gpu,
    )
