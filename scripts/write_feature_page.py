"""Write the page of a family's feature cards."""

from pathlib import Path

import pandas as pd

from crosslens.analysis.evidence import primary_doses
from crosslens.io.records import read_json, read_jsonl, write_text
from crosslens.reporting.feature_edits import edits_of_features
from crosslens.reporting.feature_page import render_feature_page
from crosslens.workflow.job import run_job


def main(
    *,
    cards: Path,
    lens: Path,
    selected: Path,
    compared: Path,
    evidence: Path,
    template: Path,
    script: Path,
    family: str,
    label: str,
    crosscoder: str,
    out: Path,
) -> None:
    """Write one page, which refers only to other files of the results."""
    hypotheses = read_json(evidence)["hypotheses"].values()
    doses = primary_doses((claim["target"], claim["dose"]) for claim in hypotheses)
    html = render_feature_page(
        read_jsonl(cards),
        read_json(lens),
        edits_of_features(pd.read_csv(compared), read_json(selected), doses),
        template.read_text(),
        script.read_text(),
        family=family,
        label=label,
        crosscoder=crosscoder,
    )
    write_text(out, html)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        cards=snakemake.input.cards,
        lens=snakemake.input.lens,
        selected=snakemake.input.selected,
        compared=snakemake.input.compared,
        evidence=snakemake.input.evidence,
        template=snakemake.input.template,
        script=snakemake.input.script,
        family=snakemake.wildcards.family,
        label=snakemake.params.label,
        crosscoder=snakemake.params.crosscoder,
        out=snakemake.output[0],
    )
