"""Edit feature sets in one model and evaluate it on the critical samples of every task."""

from functools import partial
from pathlib import Path

import pandas as pd
import torch

from crosslens.activations.extract import load_truncated, residual_stream
from crosslens.analysis.feature_selection import feature_sets
from crosslens.analysis.intervals import change
from crosslens.analysis.interventions import effects, intervene
from crosslens.config.sections import ActivationsConfig, EvaluationConfig
from crosslens.crosscoder.model import Crosscoder
from crosslens.evaluation.harness import load_model, tasks_of
from crosslens.io.records import read_json, write_csv
from crosslens.workflow.job import run_job

COLUMNS = ["set", "kind", "index", "task", "size", "n_features", *change(0, 0, 1)]


def companions(paths: list[Path], layer: int):
    """All models' activations on the same tokens, for the readout `joint`."""
    networks = [load_truncated(path, layer)[0] for path in paths]
    return lambda **inputs: torch.stack(
        [residual_stream(n, **inputs).flatten(0, 1) for n in networks], dim=1
    )


def main(
    *,
    target: str,
    models: list[Path],
    features: Path,
    critical: Path,
    crosscoder: Path,
    settings: EvaluationConfig,
    activations: ActivationsConfig,
    value: float,
    out: Path,
) -> None:
    """Write one row for each feature set and task; a task without critical samples has none."""
    torch.set_num_threads(1)
    trio, chosen = Crosscoder.load(crosscoder), read_json(features)
    found = {t: v["critical"] for t, v in read_json(critical).items() if v["critical"]}
    index, layer = trio.models.index(target), trio.metadata["layer"]
    readout = chosen["readout"]
    model = load_model(models[index], settings.batch_size)
    editing = partial(
        intervene,
        model.model,
        trio,
        index=index,
        value=value,
        layer=layer,
        readout=readout,
        others=companions(models, layer) if readout == "joint" else None,
        skip_positions=activations.skip_positions,
        sink_threshold=activations.sink_threshold,
    )
    with tasks_of(settings, list(found)) as tasks:
        sets = feature_sets(chosen, list(found))
        rows = effects(model, tasks, found, sets, lambda features: editing(features=features))
        table = pd.DataFrame(list(rows), columns=COLUMNS)
    table.insert(0, "target", target)
    write_csv(out, table)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        target=snakemake.wildcards.target,
        models=snakemake.input.models,
        features=snakemake.input.features,
        critical=snakemake.input.critical,
        crosscoder=snakemake.input.crosscoder,
        settings=snakemake.params.evaluation,
        activations=snakemake.params.activations,
        value=snakemake.params.value,
        out=snakemake.output[0],
    )
