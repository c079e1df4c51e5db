"""Select generalization features, as the paper does and by the causal protocol; draw controls."""

from pathlib import Path

import pandas as pd

from crosslens.analysis.feature_scores import Scores
from crosslens.analysis.feature_sets import Choice, Counts, feature_sets
from crosslens.config.sections import CausalProtocolConfig, GeneralizationConfig
from crosslens.io.records import write_json
from crosslens.workflow.job import run_job


def main(
    *,
    scores: Path,
    features: Path,
    tasks: list[str],
    generalization: GeneralizationConfig,
    protocol: CausalProtocolConfig,
    random_sets: int,
    seed: int,
    out: Path,
) -> None:
    """Write features.json."""
    alive = pd.read_csv(features)["alive"].to_numpy() == 1
    choice = Choice(
        protocol.score,
        generalization.readout,
        generalization.score_fraction,
        generalization.min_firing_rate,
        protocol.least_features,
    )
    counts = Counts(protocol.matched_sets, protocol.exploratory_sets, random_sets)
    write_json(out, feature_sets(Scores.load(scores), tasks, alive, choice, counts, seed))


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        scores=snakemake.input.scores,
        features=snakemake.input.features,
        tasks=snakemake.params.tasks,
        generalization=snakemake.params.generalization,
        protocol=snakemake.params.protocol,
        random_sets=snakemake.params.random_sets,
        seed=snakemake.params.seed,
        out=snakemake.output[0],
    )
