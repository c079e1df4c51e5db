"""Gather the training problems, without repetitions and without those of the benchmarks."""

import os
from pathlib import Path

import pandas as pd

from crosslens.config.sections import ProblemsConfig
from crosslens.data.datasets import draw_rows, files_of, rows
from crosslens.data.training_problems import (
    OVERLAP_COLUMNS,
    ProblemList,
    count_warning,
    overlap_table,
)
from crosslens.io.progress import log
from crosslens.io.records import sha256, write_csv, write_json, write_jsonl
from crosslens.workflow.job import run_job


def main(*, settings: ProblemsConfig, seed: int, out: Path, overlaps: Path, manifest: Path) -> None:
    """Write the training problems, a table of overlaps, and counts and hashes.

    There is one row per problem (problem, answer, source). The table has the problems that resemble
    one of a benchmark or of an earlier source.
    """
    files = {
        part: {name: files_of(source) for name, source in sources.items()}
        for part, sources in (("sources", settings.sources), ("exclude", settings.exclude))
    }
    excluded = {name: rows(paths) for name, paths in files["exclude"].items()}
    gathered = ProblemList(excluded, settings.ngram, settings.lcs_fraction)
    for name, paths in files["sources"].items():
        gathered.add_source(name, rows(paths))
    problems_kept, counts = gathered.problems, gathered.counts
    warning = count_warning(len(problems_kept), settings.expected_count, counts)
    problems = (
        problems_kept if settings.limit == "all" else draw_rows(problems_kept, settings.limit, seed)
    )
    write_jsonl(out, problems)
    write_csv(overlaps, pd.DataFrame(overlap_table(gathered.comparisons), columns=OVERLAP_COLUMNS))
    write_json(
        manifest,
        {
            "problems": len(problems),
            "available": len(problems_kept),
            "warning": warning,
            "sha256": sha256(out),
            "counts": counts,
            "settings": settings.plain(),
            "files": {
                part: {name: file_hashes(paths) for name, paths in files[part].items()}
                for part in files
            },
        },
    )
    log(f"warning: {warning}" if warning else f"{len(problems)} problems: {counts}")


def file_hashes(paths: list[Path]) -> dict[str, str]:
    """Return the hash of each file, by its path from the folder that holds all of them."""
    root = os.path.commonpath([path.parent for path in paths])
    return {str(path.relative_to(root)): sha256(path) for path in paths}


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        settings=snakemake.params.problems,
        seed=snakemake.params.seed,
        out=snakemake.output.problems,
        overlaps=snakemake.output.overlaps,
        manifest=snakemake.output.manifest,
    )
