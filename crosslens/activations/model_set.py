"""Extract one shard of the corpus with several models, one after the other."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt32

from crosslens.activations.extract import count_activations, extract, load_truncated
from crosslens.activations.shard_writer import Origin, write_shard
from crosslens.config.sections import ActivationsConfig
from crosslens.io.records import read_json, sha256, write_json
from crosslens.io.resumable_directory import resumable_directory
from crosslens.models.prepacked_linear import prepack


class CorpusShard(NamedTuple):
    """A shard of the corpus, and the seed of the order in which its activations are written."""

    name: str  # a number or "heldout"
    rows: UInt32[np.ndarray, "n t"]
    corpus_hash: str
    seed: int


def extract_models(
    models: Iterable[Path],
    shard: CorpusShard,
    settings: ActivationsConfig,
    software: dict[str, Any],
    out: Path,
) -> dict[str, dict[str, Any]]:
    """Write {variant}.h5 to the directory `out` for each model; return the token counts of each.

    A model's directory is named after its variant. The models that a killed job has finished are
    not extracted again, unless corpus, settings, seed, weights or `software` have changed. Raises
    the errors of `load_truncated`, `extract` and `write_shard`.
    """
    origin = {"shard": shard.name, "corpus_hash": shard.corpus_hash, "seed": shard.seed}
    identity = origin | {"settings": settings.plain(), "software": software}
    with resumable_directory(out, identity) as folder:
        counts = {}
        for model in models:
            record = folder / f"{model.name}.json"  # written last: the file next to it is complete
            finished = record.is_file() and read_json(record)["model_hash"] == sha256(model)
            if not finished:
                file = folder / f"{model.name}.h5"
                write_json(record, extract_model(model, shard, settings, file))
            counts[model.name] = read_json(record)
        return counts


def extract_model(
    model: Path, shard: CorpusShard, settings: ActivationsConfig, file: Path
) -> dict[str, Any]:
    """Extract one model's shard (truncated pass, permuted, masked); return its token counts."""
    network, layer = load_truncated(model, settings.layer)
    prepack(network, settings.batch_size * shard.rows.shape[1])
    size = count_activations(shard.rows, settings.skip_positions), network.config.hidden_size
    what = f"activations of {model.name}, shard {shard.name}"
    with (
        ThreadPoolExecutor(1) as background,
        write_shard(file, *size, what=what, device=network.device) as writer,
    ):
        model_hash = background.submit(sha256, model)  # reads gigabytes: while the network computes
        extracted = extract(
            network,
            shard.rows,
            writer,
            variant=model.name,
            shard=shard.name,
            seed=shard.seed,
            batch_size=settings.batch_size,
            skip_positions=settings.skip_positions,
            sink_threshold=settings.sink_threshold,
        )
        origin = Origin(
            model.name, shard.name, layer, shard.seed, model_hash.result(), shard.corpus_hash
        )
        writer.write_metadata(extracted.rows, origin)
    counts = {"mean_norm": extracted.rows.mean_norm, "layer": layer}
    return extracted.counts | counts | {"model_hash": origin.model_hash}
