"""Select each task's generalization features, their intersection, and random sets as controls."""

from pathlib import Path

import pandas as pd

from crosslens.analysis.feature_scores import READOUTS
from crosslens.analysis.feature_selection import select_all
from crosslens.io.records import read_json, write_json
from crosslens.workflow.job import run_job


def main(
    *,
    scores: Path,
    critical: Path,
    features: Path,
    tasks: list[str],
    readout: str,
    threshold: float,
    active_rate: float,
    random_sets: int,
    seed: int,
    out: Path,
) -> None:
    """Write features.json: the main readout in full, the others as they compare."""
    table = pd.read_csv(scores)
    counts = read_json(critical)
    alive = pd.read_csv(features).query("alive == 1")["feature"].tolist()
    chosen = {
        name: select_all(
            table[table["readout"] == name],
            tasks,
            threshold,
            alive=alive,
            active_rate=active_rate,
            random_sets=random_sets,
            seed=seed,
        )
        for name in READOUTS
    }
    for task in tasks:
        chosen[readout]["tasks"][task]["critical"] = len(counts[task]["critical"])
    write_json(out, {"readout": readout, **chosen[readout], "readouts": chosen})


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        scores=snakemake.input.scores,
        critical=snakemake.input.critical,
        features=snakemake.input.features,
        tasks=snakemake.params.tasks,
        readout=snakemake.params.generalization["readout"],
        threshold=snakemake.params.generalization["threshold"],
        active_rate=snakemake.params.generalization["active_rate"],
        random_sets=snakemake.params.random_sets,
        seed=snakemake.params.seed,
        out=snakemake.output[0],
    )
