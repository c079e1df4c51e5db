"""Write Table 1: accuracies of base, SFT and RL on every benchmark."""

from pathlib import Path

from crosslens.io.records import read_json, read_jsonl
from crosslens.reporting.plotting.style import save
from crosslens.reporting.plotting.tables import draw_table
from crosslens.reporting.tables import accuracy_cells, accuracy_rows, paired
from crosslens.workflow.job import run_job


def main(
    *,
    results: list[Path],
    sft: list[Path],
    rl: list[Path],
    title: str,
    tasks: list[str],
    labels: dict[str, str],
    paper: Path,
    outputs: dict[str, Path],
) -> None:
    """Write Table 1.

    `results` are at {family}/{variant}/results.json; `sft` and `rl` are the samples of the final
    models, one file for each family in the order of `labels`.
    """
    accuracies = {(p.parents[1].name, p.parent.name): read_json(p)["tasks"] for p in results}
    files = zip(labels, sft, rl, strict=True)
    gains = {family: paired(read_jsonl(a), read_jsonl(b)) for family, a, b in files}
    rows = accuracy_rows(accuracies, gains, tasks, labels, read_json(paper))
    cells, rules = accuracy_cells(rows, tasks)
    save(draw_table(cells, title, rules), rows, outputs)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        results=snakemake.input.results,
        sft=snakemake.input.sft,
        rl=snakemake.input.rl,
        title=snakemake.params.title,
        tasks=snakemake.params.tasks,
        labels=snakemake.params.labels,
        paper=snakemake.input.paper,
        outputs=snakemake.output,
    )
