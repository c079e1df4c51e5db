"""Write the residual stream of some models at the layer for one shard of the corpus."""

from pathlib import Path

import torch

from crosslens.activations.model_set import CorpusShard, extract_models
from crosslens.config.sections import ActivationsConfig
from crosslens.data.corpus import read_shard
from crosslens.io.records import write_json
from crosslens.workflow.job import run_job
from crosslens.workflow.provenance import installed


def main(
    *,
    corpus: Path,
    models: list[Path],
    shard: str,
    settings: ActivationsConfig,
    seed: int,
    code: list[str],
    out: Path,
    counts: Path,
) -> None:
    """Write a file of activations for every model, and counts of tokens written and masked."""
    rows, corpus_hash = read_shard(corpus, shard)
    source = CorpusShard(shard, rows, corpus_hash, seed)
    software = {
        "code": code,
        "versions": installed("torch", "transformers"),
        "cuda": torch.cuda.is_available(),
    }
    write_json(counts, extract_models(models, source, settings, software, out))


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        corpus=snakemake.input.corpus,
        models=snakemake.input.models,
        shard=snakemake.wildcards.shard,
        settings=snakemake.params.activations,
        seed=snakemake.params.seed,
        code=snakemake.params.code,
        out=snakemake.output.activations,
        counts=snakemake.output.counts,
    )
