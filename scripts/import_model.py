"""Copy a model that is not trained here into the study, where the trained ones are."""

import shutil
from pathlib import Path

from crosslens.activations.extract import MIDDLE
from crosslens.activations.pass_check import check_truncated_pass
from crosslens.config.model_compatibility import WEIGHTS, check_same_tokenizer_and_shape
from crosslens.data.hub import model_directory
from crosslens.io.atomic import atomic_write
from crosslens.io.errors import InputError
from crosslens.io.progress import log
from crosslens.io.records import read_json
from crosslens.models.loading import load_config, loading
from crosslens.models.stated_values import check_stated_values
from crosslens.models.tokenizer import load_tokenizer
from crosslens.workflow.job import run_job


def main(
    *, model: str | Path, out: Path, revision: str | None = None, base: Path | None = None
) -> None:
    """Check that `model` is complete and gives its residual stream, then copy its files.

    Links are followed. With a revision, `model` is one of the hub, downloaded to its cache first.
    `base` is the imported model that it descends from. The stream is compared at the middle layer,
    whatever `activations.layer` is, so that another layer imports nothing again.
    """
    directory = model_directory(str(model), revision)
    check(directory)
    check_stated_values(directory, base)
    if base:
        check_same_tokenizer_and_shape(base.parent.name, [base, directory])
    log(f"{directory}: error of the truncated pass {check_truncated_pass(directory, MIDDLE):.2g}")
    with atomic_write(out) as partial:
        shutil.copytree(directory, partial, ignore=shutil.ignore_patterns(".*"))


def check(base: Path) -> None:
    """Raise InputError unless `base` holds a configuration, weights and a tokenizer."""
    if not (base / "config.json").is_file():
        raise InputError(
            f"{base}: no config.json, so it is no Hugging Face model directory. Correct the path."
        )
    if not any(base.glob(WEIGHTS)):
        raise InputError(f"{base}: no weights ({WEIGHTS}). Add them.")
    for index in base.glob("*.index.json"):
        missing = {f for f in read_json(index)["weight_map"].values() if not (base / f).is_file()}
        if missing:
            raise InputError(
                f"{base}: {min(missing)}, which {index.name} names, is missing. Add this file."
            )
    load_config(base)
    with loading(base):
        tokenizer = load_tokenizer(base)
    if tokenizer.eos_token is None:
        raise InputError(
            f"{base}: its tokenizer has no end-of-text token (eos_token). Add it to "
            "tokenizer_config.json."
        )


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        model=snakemake.params.model,
        base=snakemake.input.base,
        revision=snakemake.params.revision,
        out=snakemake.output[0],
    )
