"""Edit feature sets in one model and evaluate it on the critical samples of every task."""

from pathlib import Path

import pandas as pd
import torch

from crosslens.activations import load_truncated, residual_stream
from crosslens.crosscoder import Crosscoder
from crosslens.evaluation import load_model, run, tasks_of
from crosslens.files import read_json, write_csv
from crosslens.generalization import FeatureSet, feature_sets
from crosslens.intervention import intervene
from crosslens.progress import track
from crosslens.statistics import change


def companions(paths: list[Path], layer: int):
    """All models' activations on the same tokens, for the readout `joint`."""
    networks = [load_truncated(path, layer)[0] for path in paths]
    return lambda ids: torch.stack([residual_stream(n, ids).flatten(0, 1) for n in networks], dim=1)


def records(target: str, chosen: FeatureSet, samples: dict[str, list[dict]], before: int):
    """One row a task: accuracy before (all wrong in base, all right in RL) and after."""
    for task, found in samples.items():
        right = sum(int(sample["acc"]) for sample in found)
        yield {
            "target": target,
            "set": chosen.name,
            "kind": chosen.kind,
            "index": chosen.index,
            "task": task,
            "n_features": len(chosen.features),
            **change(right, len(found), before),
        }


def main(
    *,
    target: str,
    models: list[Path],
    features: Path,
    critical: Path,
    crosscoder: Path,
    settings: dict,
    value: float,
    out: Path,
) -> None:
    """Write one row for each feature set and task."""
    torch.set_num_threads(1)
    trio, chosen = Crosscoder.load(crosscoder), read_json(features)
    only = {t: [s["doc_id"] for s in v["critical"]] for t, v in read_json(critical).items()}
    only = {task: ids for task, ids in only.items() if ids}
    index, layer = trio.models.index(target), trio.metadata["layer"]
    joint = chosen["readout"] == "joint"
    options = {"layer": layer, "readout": chosen["readout"], "index": index, "value": value}
    options["others"] = companions(models, layer) if joint else None
    model = load_model(models[index], settings["batch_size"])
    rows: list[dict] = []
    with tasks_of(settings, list(only)) as tasks:
        for each in track(
            feature_sets(chosen, list(only)), f"intervening in {target}", unit="sets"
        ):
            wanted = {task: only[task] for task in each.tasks}
            with intervene(model.model, trio, features=each.features, **options):
                samples = run(model, {t: tasks[t] for t in wanted}, only=wanted)
            rows += records(target, each, samples, before=0 if target == "base" else 1)
    columns = ["target", "set", "kind", "index", "task", "n_features", *change(0, 1, 0)]
    write_csv(out, pd.DataFrame(rows, columns=columns))


if __name__ == "__main__":
    from crosslens.errors import one_line

    with one_line(snakemake.log[0]):
        main(
            target=snakemake.wildcards.target,
            models=[Path(path) for path in snakemake.input.models],
            features=Path(snakemake.input.features),
            critical=Path(snakemake.input.critical),
            crosscoder=Path(snakemake.input.crosscoder),
            settings=snakemake.params.evaluation,
            value=snakemake.params.value,
            out=Path(snakemake.output[0]),
        )
