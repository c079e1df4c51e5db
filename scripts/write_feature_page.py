"""Write the page of a family's feature cards."""

from pathlib import Path

from crosslens.io.records import read_jsonl, write_text
from crosslens.reporting.feature_page import render_feature_page
from crosslens.workflow.job import run_job


def main(
    *, cards: Path, template: Path, script: Path, label: str, crosscoder: str, out: Path
) -> None:
    """Write one page without outside references."""
    html = render_feature_page(
        read_jsonl(cards),
        template.read_text(),
        script.read_text(),
        label=label,
        crosscoder=crosscoder,
    )
    write_text(out, html)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        cards=snakemake.input.cards,
        template=snakemake.input.template,
        script=snakemake.input.script,
        label=snakemake.params.label,
        crosscoder=snakemake.params.crosscoder,
        out=snakemake.output[0],
    )
