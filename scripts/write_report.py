"""Gather all results into summary.json and the one page that a reader opens first."""

from pathlib import Path

from crosslens.io.records import read_json, write_json, write_text
from crosslens.reporting.html_report import page
from crosslens.reporting.summary import Study, summarize


def main(
    *,
    root: Path,
    config: dict,
    inputs: list[Path],
    template: Path,
    captions: list[Path],
    paper: Path,
    page_out: Path,
    summary: Path,
) -> None:
    """`root` is results/{study}; of what lies below, only `inputs` belong to this configuration."""
    study = Study(root, config, inputs)
    found = summarize(study)
    texts = {path.stem: path.read_text().strip() for path in captions}
    write_text(page_out, page(study, found, template.read_text(), texts, read_json(paper)))
    write_json(summary, found)


if __name__ == "__main__":
    from crosslens.workflow.job import one_line

    with one_line(snakemake.log[0]):
        main(
            root=Path(snakemake.output.page).parent,
            config=snakemake.params.config,
            inputs=[
                Path(path)
                for name in ("results", "figures", "versions")
                for path in snakemake.input[name]
            ],
            template=Path(snakemake.input.template),
            captions=[Path(path) for path in snakemake.input.captions],
            paper=Path(snakemake.input.paper),
            page_out=Path(snakemake.output.page),
            summary=Path(snakemake.output.summary),
        )
