"""Measure a trained crosscoder on the held-out shard and write it in its final form."""

from pathlib import Path

import torch

from crosslens.activations.shard_reader import ShardReader, files_by_variant
from crosslens.analysis.decodability import DecodabilitySums
from crosslens.analysis.feature_table import feature_table
from crosslens.analysis.latent_scaling import ScalingSums
from crosslens.config.sections import CrosscoderConfig
from crosslens.crosscoder.heldout import evaluate
from crosslens.crosscoder.threshold import set_threshold
from crosslens.crosscoder.training import load_trained
from crosslens.crosscoder.training_log import read_log
from crosslens.io.records import write_csv, write_json
from crosslens.models.device import best_device
from crosslens.workflow.job import run_job


def main(
    *,
    name: str,
    variants: list[str],
    states: Path,
    heldout: list[Path],
    histories: list[Path],
    reference: Path | None,
    settings: CrosscoderConfig,
    threshold: float,
    crosscoder: Path,
    quality: Path,
    features: Path,
    training: Path,
) -> None:
    """Write the crosscoder, its quality, its features and its training history.

    `heldout` are directories with a file {variant}.h5 for each model; the crosscoder's models are
    `variants`.
    """
    torch.set_num_threads(1)
    trained, step = load_trained(states / f"{name}.safetensors")
    trained.to(best_device())
    files = files_by_variant(heldout)
    with ShardReader([files[variant] for variant in variants]) as reader:
        set_threshold(trained, reader, settings, reference)
        scaling, decodability = ScalingSums(trained), DecodabilitySums(trained)
        size, beta = settings.batch_size, settings.beta
        measured = evaluate(trained, reader, size, beta, [scaling, decodability])
    trained.metadata |= {"tokens_seen": step * settings.batch_size, "config": settings.plain()}
    table = feature_table(
        trained.models, measured.rate, scaling.scaling(), decodability.r_squared(), threshold
    )
    write_csv(features, table)
    write_csv(training, read_log(histories, name))
    write_json(quality, measured.record(threshold, trained.metadata))
    trained.save(crosscoder)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        name=f"{snakemake.wildcards.crosscoder}-r{snakemake.wildcards.replicate}",
        variants=snakemake.params.variants,
        states=snakemake.input.states,
        heldout=snakemake.input.heldout,
        histories=snakemake.input.histories,
        reference=snakemake.input.reference,
        settings=snakemake.params.crosscoder,
        threshold=snakemake.params.threshold,
        crosscoder=snakemake.output.crosscoder,
        quality=snakemake.output.quality,
        features=snakemake.output.features,
        training=snakemake.output.training,
    )
