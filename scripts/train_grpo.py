"""Reinforce a family's base model on the outcome of its answers: GRPO by verl or TRL."""

from pathlib import Path

import pandas as pd

from crosslens.files import remove, write_csv
from crosslens.grpo.steps import steps_of_epoch


def engine(name: str):
    """The module that runs an engine; each lives in an environment of its own."""
    if name == "verl":
        from crosslens.grpo import verl

        return verl
    from crosslens.grpo import trl

    return trl


def main(
    *,
    model: Path,
    data: Path,
    settings: dict,
    seed: int,
    gpus: int,
    checkpoints: list[Path],
    curves: Path,
) -> None:
    """Write five checkpoints and the curves."""
    for checkpoint in checkpoints:
        remove(checkpoint)
    problems = len(pd.read_parquet(data, columns=["ability"]))
    table = engine(settings["engine"]).train(
        settings=settings,
        model=model,
        data=data,
        steps=steps_of_epoch(problems, settings["batch_size"]),
        seed=seed,
        gpus=gpus,
        out=checkpoints,
    )
    write_csv(curves, table)


if __name__ == "__main__":
    from crosslens.errors import one_line

    with one_line(snakemake.log[0]):
        main(
            model=Path(snakemake.input.model),
            data=Path(snakemake.input.data),
            settings=snakemake.params.grpo,
            seed=snakemake.params.seed,
            gpus=snakemake.resources.gpu,
            checkpoints=[Path(path) for path in snakemake.output.checkpoints],
            curves=Path(snakemake.output.curves),
        )
