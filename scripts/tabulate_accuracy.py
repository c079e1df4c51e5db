"""Table 1: accuracies of base, SFT and RL on every benchmark."""

from pathlib import Path

from crosslens.io.records import read_json, read_jsonl
from crosslens.reporting.plotting.style import save
from crosslens.reporting.plotting.tables import draw_table
from crosslens.reporting.tables import accuracy_cells, accuracy_rows, paired


def main(
    *,
    results: list[Path],
    samples: dict[str, tuple[Path, Path]],
    tasks: list[str],
    labels: dict[str, str],
    paper: dict,
    outputs: dict[str, Path],
) -> None:
    """`results` lie at {family}/{variant}/results.json; `samples` are each family's, SFT and RL."""
    found = {(p.parents[1].name, p.parent.name): read_json(p)["tasks"] for p in results}
    gains = {family: paired(*map(read_jsonl, two)) for family, two in samples.items()}
    rows = accuracy_rows(found, gains, tasks, labels, paper)
    cells, rules = accuracy_cells(rows, tasks)
    save(draw_table(cells, "Table 1. Accuracy in %, with 95% intervals.", rules), rows, outputs)


if __name__ == "__main__":
    from crosslens.workflow.job import one_line

    with one_line(snakemake.log[0]):
        sft, rl = snakemake.input.sft, snakemake.input.rl
        pairs = zip(map(Path, sft), map(Path, rl), strict=True)
        main(
            results=[Path(path) for path in snakemake.input.results],
            samples=dict(zip(snakemake.params.labels, pairs, strict=True)),
            tasks=snakemake.params.tasks,
            labels=snakemake.params.labels,
            paper=read_json(snakemake.input.paper),
            outputs={kind: Path(path) for kind, path in snakemake.output.items()},
        )
