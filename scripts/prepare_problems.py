"""Gather the training problems, without repetitions and without those of the benchmarks."""

import os
from pathlib import Path
from typing import Any

from crosslens.data.datasets import files_of, rows
from crosslens.data.training_problems import check_count, select
from crosslens.io.records import sha256, write_json, write_jsonl
from crosslens.workflow.job import run_job


def main(*, settings: dict[str, Any], out: Path, manifest: Path) -> None:
    """Write one row per problem (problem, answer, source), and the counts and hashes of it all."""
    files = {
        part: {name: files_of(source) for name, source in settings[part].items()}
        for part in ("sources", "exclude")
    }
    read = {part: {name: rows(paths) for name, paths in files[part].items()} for part in files}
    selection = select(read["sources"], read["exclude"], settings["ngram"])
    check_count(len(selection.problems), settings["count"], selection.counts)
    write_jsonl(out, selection.problems)
    write_json(
        manifest,
        {
            "problems": len(selection.problems),
            "sha256": sha256(out),
            "counts": selection.counts,
            "settings": settings,
            "files": {
                part: {name: hashes(paths) for name, paths in files[part].items()} for part in files
            },
        },
    )
    print(f"{len(selection.problems)} problems: {selection.counts}")


def hashes(paths: list[Path]) -> dict[str, str]:
    """Hash of each file, under its path from where all of them lie."""
    root = os.path.commonpath([path.parent for path in paths])
    return {str(path.relative_to(root)): sha256(path) for path in paths}


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        settings=snakemake.params.problems,
        out=snakemake.output.problems,
        manifest=snakemake.output.manifest,
    )
