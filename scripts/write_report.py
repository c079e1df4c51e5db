"""Gather all results into summary.json and the one page that a reader opens first."""

from pathlib import Path

from crosslens.config.study import StudyConfig
from crosslens.io.records import read_json, write_json, write_text
from crosslens.reporting.html_report import render_report
from crosslens.reporting.summary import Study, summarize
from crosslens.workflow.job import run_job


def main(
    *,
    root: Path,
    config: StudyConfig,
    inputs: list[Path],
    template: Path,
    script: Path,
    paper: Path,
    page_out: Path,
    summary: Path,
) -> None:
    """Write the page and the summary from `root`, results/{study}.

    Only `inputs` in it belong to this configuration.
    """
    study = Study(root, config, inputs)
    numbers = summarize(study)
    html = render_report(study, numbers, template.read_text(), script.read_text(), read_json(paper))
    write_text(page_out, html)
    write_json(summary, numbers)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        root=Path(snakemake.output.page).parent,
        config=snakemake.params.config,
        inputs=[*snakemake.input.results, *snakemake.input.figures, *snakemake.input.versions],
        template=snakemake.input.template,
        script=snakemake.input.script,
        paper=snakemake.input.paper,
        page_out=snakemake.output.page,
        summary=snakemake.output.summary,
    )
