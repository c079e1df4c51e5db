"""Write the model between base and the final SFT model that drifted as far as the RL model."""

import copy
import math
from pathlib import Path

import torch

from crosslens.activations.drift import (
    TOKENS,
    Measured,
    activations,
    drift,
    interpolate,
    match,
    without_sinks,
)
from crosslens.activations.extract import load_truncated
from crosslens.config.sections import ActivationsConfig
from crosslens.data.corpus import read_shard
from crosslens.io.atomic import atomic_write
from crosslens.io.records import write_json
from crosslens.models.tokenizer import load_tokenizer
from crosslens.workflow.job import run_job


def find(
    corpus: Path,
    base: Path,
    sft: Path,
    rl: Path,
    *,
    layer: str | int,
    sink_threshold: float,
    **options: int,
) -> Measured:
    """Return alpha and the drifts that were measured up to the layer."""
    rows, _ = read_shard(corpus, "heldout")
    rows = rows[: math.ceil(TOKENS / rows.shape[1])]
    networks = [load_truncated(path, layer)[0] for path in (base, sft, rl)]
    x, tuned, target = parts = [activations(network, rows, **options) for network in networks]
    kept = without_sinks(parts, sink_threshold)
    between = copy.deepcopy(networks[0])

    def drift_at(alpha: float) -> float:
        interpolate(between, *networks[:2], alpha)
        return drift(activations(between, rows, **options)[kept], x[kept])

    wanted, at_one = drift(target[kept], x[kept]), drift(tuned[kept], x[kept])
    return Measured(*match(wanted, at_one, drift_at), wanted, at_one, int(kept.sum()))


def write_model(base: Path, sft: Path, alpha: float, out: Path) -> None:
    """Write the whole interpolated model, in the SFT model's dtype, with its tokenizer."""
    from transformers import AutoModelForCausalLM

    one, other = (AutoModelForCausalLM.from_pretrained(path, dtype="auto") for path in (base, sft))
    between = copy.deepcopy(other)
    interpolate(between, one, other, alpha)
    with atomic_write(out) as partial:
        between.save_pretrained(partial)
        load_tokenizer(sft).save_pretrained(partial)


def main(
    *,
    corpus: Path,
    base: Path,
    sft: Path,
    rl: Path,
    settings: ActivationsConfig,
    model: Path,
    measured: Path,
) -> None:
    """Measure the drift of models with some alpha; write the one that fits, and the numbers."""
    torch.set_num_threads(1)
    found = find(
        corpus,
        base,
        sft,
        rl,
        layer=settings.layer,
        sink_threshold=settings.sink_threshold,
        batch_size=settings.batch_size,
        skip_positions=settings.skip_positions,
    )
    write_model(base, sft, found.alpha, model)
    write_json(measured, found._asdict())


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        corpus=snakemake.input.corpus,
        base=snakemake.input.base,
        sft=snakemake.input.sft,
        rl=snakemake.input.rl,
        settings=snakemake.params.activations,
        model=snakemake.output.model,
        measured=snakemake.output.measured,
    )
