"""Make one local file of a benchmark, from the hub's cache or from local data."""

from pathlib import Path
from typing import Literal

from crosslens.config import benchmark_columns
from crosslens.config.json_files import check_columns
from crosslens.config.sections import DatasetSource
from crosslens.data.datasets import draw_rows, files_of, rows
from crosslens.evaluation.benchmark_rows import check_answers, json_rows
from crosslens.io.records import sha256, write_json, write_jsonl
from crosslens.workflow.job import run_job


def main(
    *,
    task: str,
    math: bool,
    source: DatasetSource,
    limit: Literal["all"] | int,
    seed: int,
    out: Path,
    manifest: Path,
) -> None:
    """Write the rows, at most `limit`, as JSON lines in the data set's columns, and their origin.

    `rows` in the manifest counts those written, `available` those of the data set.
    """
    key, files = f"evaluation.files.{task}", files_of(source)
    kept, dropped = json_rows(rows(files))
    check_answers(key, kept, benchmark_columns.answer_column(task, math=math), math=math)
    drawn = kept if limit == "all" else draw_rows(kept, limit, seed)
    write_jsonl(out, drawn)
    check_columns(key, str(out), benchmark_columns.columns(task, math=math))
    write_json(
        manifest,
        {
            "rows": len(drawn),
            "available": len(kept),
            "sha256": sha256(out),
            "source": source.plain(),
            "files": {path.name: sha256(path) for path in files},
            "dropped_columns": dropped,
        },
    )


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        task=snakemake.wildcards.task,
        math=snakemake.params.math,
        source=snakemake.params.source,
        limit=snakemake.params.limit,
        seed=snakemake.params.seed,
        out=snakemake.output.benchmark,
        manifest=snakemake.output.manifest,
    )
