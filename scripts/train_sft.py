"""Fine-tune the base model on the teacher's traces with LLaMA-Factory."""

from pathlib import Path
from typing import Any

from crosslens import sft
from crosslens.files import remove


def main(
    *,
    base: Path,
    data: Path,
    checkpoints: list[Path],
    loss: Path,
    settings: dict[str, Any],
    seed: int,
    gpus: int,
) -> None:
    """Write one plain model directory per fifth of the epoch, and the loss of every step."""
    run = loss.parent / ".sft-run"
    try:
        sft.train(base=base, data=data, run=run, settings=settings, seed=seed, gpus=gpus)
        sft.collect(run, base, checkpoints, loss)
    finally:
        remove(run)


if __name__ == "__main__":
    from crosslens.errors import one_line
    from crosslens.gpus import hold

    with one_line(snakemake.log[0]), hold(snakemake.resources.gpu):
        main(
            base=Path(snakemake.input.base),
            data=Path(snakemake.input.data),
            checkpoints=[Path(path) for path in snakemake.output.checkpoints],
            loss=Path(snakemake.output.loss),
            settings=snakemake.params.sft,
            seed=snakemake.params.seed,
            gpus=snakemake.resources.gpu,
        )
