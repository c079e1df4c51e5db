"""Fine-tune the base model on the teacher's traces with LLaMA-Factory."""

from pathlib import Path

from crosslens.config.sections import SFTConfig
from crosslens.io.atomic import remove_atomically
from crosslens.io.errors import InputError
from crosslens.io.records import write_json
from crosslens.posttraining.sft import llama_factory
from crosslens.workflow.job import run_job
from crosslens.workflow.provenance import installed

PACKAGES = ("llamafactory", "deepspeed", "accelerate", "transformers", "torch")


def main(
    *,
    base: Path,
    data: Path,
    checkpoints: list[Path],
    loss: Path,
    versions: Path,
    settings: SFTConfig,
    seed: int,
    code: list[str],
    gpus: int,
) -> None:
    """Write five plain model directories, the loss of every step, and installed versions.

    An interrupted run resumes from the last checkpoint in its hidden directory, if `code` and
    versions are still the same. Raises InputError if they are not.
    """
    run, packages = loss.parent / ".sft-run", installed(*PACKAGES)
    llama_factory.train(
        base=base,
        data=data,
        run=run,
        settings=settings,
        seed=seed,
        gpus=gpus,
        software={"code": code, "versions": packages},
    )
    write_json(versions, packages)
    try:
        llama_factory.collect_checkpoints(run, base, checkpoints, loss)
    except InputError:
        remove_atomically(run)  # it is complete but invalid, so there is nothing to resume
        raise


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        base=snakemake.input.base,
        data=snakemake.input.data,
        checkpoints=snakemake.output.checkpoints,
        loss=snakemake.output.loss,
        versions=snakemake.output.versions,
        settings=snakemake.params.sft,
        seed=snakemake.params.seed,
        code=snakemake.params.code,
        gpus=snakemake.resources.gpu,
    )
