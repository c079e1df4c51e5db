"""Train the base model with GRPO, through verl or TRL."""

from pathlib import Path

from crosslens.config.sections import GRPOConfig
from crosslens.io.atomic import remove_atomically
from crosslens.io.records import write_csv, write_json
from crosslens.workflow.job import run_job
from crosslens.workflow.provenance import installed

PACKAGES = {"verl": ("verl", "vllm", "ray"), "trl": ("trl", "accelerate")}


def main(
    *,
    base: Path,
    data: Path,
    checkpoints: list[Path],
    curves: Path,
    versions: Path,
    settings: GRPOConfig,
    seed: int,
    code: list[str],
    gpus: int,
) -> None:
    """Write five plain model directories, the curves of every step, and installed versions.

    An interrupted run resumes from the last checkpoint in its hidden directory, if `code` and
    versions are still the same. Raises InputError if they are not.
    """
    if settings.engine == "verl":  # each in its own environment
        from crosslens.posttraining.grpo.verl import train
    else:
        from crosslens.posttraining.grpo.trl import train
    run = curves.parent / f".grpo-{settings.engine}"
    packages = installed(*PACKAGES[settings.engine], "transformers", "torch", "mpmath")
    arguments = {
        "settings": settings,
        "model": base,
        "data": data,
        "seed": seed,
        "gpus": gpus,
        "software": {"code": code, "versions": packages},
    }
    write_csv(curves, train(**arguments, run=run, out=checkpoints))
    write_json(versions, packages)
    remove_atomically(run)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        base=snakemake.input.base,
        data=snakemake.input.data,
        checkpoints=snakemake.output.checkpoints,
        curves=snakemake.output.curves,
        versions=snakemake.output.versions,
        settings=snakemake.params.grpo,
        seed=snakemake.params.seed,
        code=snakemake.params.code,
        gpus=snakemake.resources.gpu,
    )
