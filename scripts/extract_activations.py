"""Write one variant's residual stream at the layer for one shard of the corpus."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from crosslens.activations.extract import count_activations, extract, load_truncated
from crosslens.activations.shard_writer import Origin, write_shard
from crosslens.config.sections import ActivationsConfig
from crosslens.data.corpus import read_shard
from crosslens.io.records import sha256, write_json
from crosslens.models.prepacked_linear import prepack
from crosslens.workflow.job import run_job


def main(
    *,
    corpus: Path,
    model: Path,
    variant: str,
    shard: str,
    settings: ActivationsConfig,
    seed: int,
    out: Path,
    counts: Path,
) -> None:
    """Stop the forward pass at the layer, permute, mask, write."""
    rows, corpus_hash = read_shard(corpus, shard)
    network, layer = load_truncated(model, settings.layer)
    prepack(network, settings.batch_size * rows.shape[1])
    size = count_activations(rows, settings.skip_positions), network.config.hidden_size
    what = f"activations of {variant}, shard {shard}"
    with (
        ThreadPoolExecutor(1) as beside,
        write_shard(out, *size, what=what, device=network.device) as writer,
    ):
        model_hash = beside.submit(sha256, model)  # reads gigabytes: while the network computes
        extracted = extract(
            network,
            rows,
            writer,
            variant=variant,
            shard=shard,
            seed=seed,
            batch_size=settings.batch_size,
            skip_positions=settings.skip_positions,
            sink_threshold=settings.sink_threshold,
        )
        origin = Origin(variant, shard, layer, seed, model_hash.result(), corpus_hash)
        writer.write_metadata(extracted.rows, origin)
    mean_norm = extracted.rows.mean_norm
    write_json(counts, extracted.counts | {"mean_norm": mean_norm, "layer": layer})


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        corpus=snakemake.input.corpus,
        model=snakemake.input.model,
        variant=snakemake.wildcards.variant,
        shard=snakemake.wildcards.shard,
        settings=snakemake.params.activations,
        seed=snakemake.params.seed,
        out=snakemake.output.activations,
        counts=snakemake.output.counts,
    )
