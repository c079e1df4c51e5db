"""Copy a model that is not trained here into the study, next to the trained models."""

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
from crosslens.models.stored_weights import check_tied_head
from crosslens.models.tokenizer import load_tokenizer
from crosslens.workflow.job import run_job


def main(
    *, model: str | Path, out: Path, revision: str | None = None, base: Path | None = None
) -> None:
    """Check that `model` is complete and that its activations can be read, then copy its files.

    Links are followed; Mistral's second copy of the weights is left out. With a revision, `model`
    is on the hub and is downloaded to the cache first.
    `base` is the imported model that it descends from. Activations are checked at the middle layer,
    whatever `activations.layer` is, so that changing the layer does not import models again.
    """
    directory = model_directory(str(model), revision)
    check(directory)
    check_stated_values(directory, base)
    check_tied_head(directory)
    if base:
        check_same_tokenizer_and_shape(base.parent.name, [base, directory])
    log(f"{directory}: error of the truncated pass {check_truncated_pass(directory, MIDDLE):.2g}")
    with atomic_write(out) as partial:
        shutil.copytree(directory, partial, ignore=shutil.ignore_patterns(".*", "consolidated*"))


def check(base: Path) -> None:
    """Raise InputError unless `base` holds a configuration, weights and a tokenizer."""
    if not (base / "config.json").is_file():
        raise InputError(
            f"{base}: not a Hugging Face model directory (no config.json). Correct the path."
        )
    if not any(base.glob(WEIGHTS)):
        raise InputError(f"{base}: there are no weights ({WEIGHTS}). Add them.")
    for index in base.glob("*.index.json"):
        missing = {f for f in read_json(index)["weight_map"].values() if not (base / f).is_file()}
        if missing:
            raise InputError(
                f"{base}: {min(missing)} is missing, although {index.name} lists it. Add the file."
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
