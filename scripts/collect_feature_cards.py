"""Collect the data of feature cards in one pass of the trio's models over the held-out texts."""

from pathlib import Path

import pandas as pd

from crosslens.analysis.feature_cards import (
    Measured,
    Shown,
    cards,
    chosen_features,
    matches_by_seed,
    read_heads,
    scores_by_task,
)
from crosslens.analysis.feature_table import rows_of
from crosslens.analysis.heldout_reading import read_heldout_texts
from crosslens.config.sections import ActivationsConfig
from crosslens.crosscoder.model import Crosscoder
from crosslens.io.records import read_json, sha256, write_json, write_jsonl
from crosslens.models.tokenizer import load_tokenizer
from crosslens.workflow.job import run_job


def main(
    *,
    crosscoder: Path,
    mas: Path,
    scores: Path,
    selected: Path,
    other_seeds: list[Path],
    models: list[Path],
    corpus: Path,
    settings: ActivationsConfig,
    each: int,
    seed: int,
    out: Path,
    lens: Path,
) -> None:
    """Write a card for each feature (`cards`), and the activation-difference lens.

    `models` are the crosscoder's, in its order; `other_seeds` are the same crosscoder from other
    seeds. features.csv lies beside each crosscoder.
    """
    specific, selection = rows_of(pd.read_csv(mas), crosscoder.parent.name), read_json(selected)
    reasons = chosen_features(specific, selection, each, seed)
    chosen = list(reasons)
    print(f"{len(chosen)} features get a card")
    part = Crosscoder.load(crosscoder).restricted(chosen)
    measured = Measured(
        specific.set_index("feature"),
        pd.read_csv(crosscoder.with_name("features.csv")).set_index("feature"),
        scores_by_task(pd.read_csv(scores), selection, chosen),
        matches_by_seed(part, chosen, other_seeds),
    )
    reading = read_heldout_texts(part, models, corpus, settings)
    tokenizer = load_tokenizer(models[0])
    lenses, differences = read_heads(part, reading, models, tokenizer)
    shown = Shown(part, reading, lenses, tokenizer)
    write_jsonl(out, cards(reasons, selection, measured, shown, sha256(crosscoder)[:12]))
    write_json(lens, differences)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        crosscoder=snakemake.input.crosscoder,
        mas=snakemake.input.mas,
        scores=snakemake.input.scores,
        selected=snakemake.input.selected,
        other_seeds=snakemake.input.other_seeds,
        models=snakemake.input.models,
        corpus=snakemake.input.corpus,
        settings=snakemake.params.activations,
        each=snakemake.params.each,
        seed=snakemake.params.seed,
        out=snakemake.output.cards,
        lens=snakemake.output.lens,
    )
