"""Find the samples that base answers incorrectly and the RL model correctly."""

from pathlib import Path

from crosslens.analysis.critical_samples import critical_samples
from crosslens.io.records import read_jsonl, write_json
from crosslens.workflow.job import run_job


def main(*, base: Path, rl: Path, tasks: list[str], out: Path) -> None:
    """Write critical.json: documents, critical samples and lost ones of each task."""
    write_json(out, critical_samples(read_jsonl(base), read_jsonl(rl), tasks))


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        base=snakemake.input.base,
        rl=snakemake.input.rl,
        tasks=snakemake.params.tasks,
        out=snakemake.output[0],
    )
