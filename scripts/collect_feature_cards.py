"""Collect what feature cards show, in one pass of the trio's models over the held-out texts."""

from pathlib import Path

import pandas as pd

from crosslens.activations.extract import load_truncated
from crosslens.analysis.feature_cards import (
    cards,
    chosen_features,
    heldout_batches,
    in_order,
    matched_controls,
    matches_by_seed,
    read_texts,
    scores_by_task,
)
from crosslens.analysis.feature_table import rows_of
from crosslens.analysis.logit_lens import lenses_by_model
from crosslens.config.sections import ActivationsConfig
from crosslens.crosscoder.model import Crosscoder
from crosslens.data.corpus import heldout_sources
from crosslens.io.progress import track
from crosslens.io.records import read_json, write_jsonl
from crosslens.models.loading import load_network
from crosslens.models.tokenizer import load_tokenizer
from crosslens.models.transformers_light import AutoModelForCausalLM
from crosslens.workflow.job import run_job


def main(
    *,
    crosscoder: Path,
    features: Path,
    mas: Path,
    scores: Path,
    readout: str,
    tasks: list[str],
    selected: Path,
    other_seeds: list[Path],
    other_features: list[Path],
    models: list[Path],
    corpus: Path,
    settings: ActivationsConfig,
    each: int,
    seed: int,
    out: Path,
) -> None:
    """Write a card for each feature, as `feature_cards.cards` returns it.

    `models` are the crosscoder's, in its order; `other_features` is features.csv of each of
    `other_seeds`, the same crosscoder from other seeds.
    """
    specific = rows_of(pd.read_csv(mas), crosscoder.parent.name)
    selection = read_json(selected)
    controls = matched_controls(selection)
    reasons = chosen_features(specific, in_order(selection), controls, each, seed)
    chosen = list(reasons)
    print(f"{len(chosen)} features get a card")

    part = Crosscoder.load(crosscoder).restricted(chosen)
    matches = matches_by_seed(part, chosen, other_seeds, other_features)
    lenses = lenses_by_model(part, lambda i: load_network(models[i], AutoModelForCausalLM))
    sources = heldout_sources(corpus)[1]
    reading = read_texts(
        part,
        [load_truncated(path, part.metadata["layer"])[0] for path in models],
        track(heldout_batches(corpus, settings.batch_size), "texts", unit="batches"),
        len(sources),
        settings.skip_positions,
        settings.sink_threshold,
    )
    records = cards(
        reasons,
        controls=controls,
        crosscoder=part,
        reading=reading,
        sources=sources,
        lenses=lenses,
        mas=specific.set_index("feature"),
        table=pd.read_csv(features).set_index("feature"),
        scores=scores_by_task(pd.read_csv(scores), readout, tasks, chosen),
        matches=matches,
        tokenizer=load_tokenizer(models[0]),
    )
    write_jsonl(out, records)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        crosscoder=snakemake.input.crosscoder,
        features=snakemake.input.features,
        mas=snakemake.input.mas,
        scores=snakemake.input.scores,
        readout=snakemake.params.readout,
        tasks=snakemake.params.tasks,
        selected=snakemake.input.selected,
        other_seeds=snakemake.input.other_seeds,
        other_features=snakemake.input.other_features,
        models=snakemake.input.models,
        corpus=snakemake.input.corpus,
        settings=snakemake.params.activations,
        each=snakemake.params.each,
        seed=snakemake.params.seed,
        out=snakemake.output.cards,
    )
