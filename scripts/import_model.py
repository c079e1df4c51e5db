"""Copy a model that is not trained here into the study, where the trained ones are."""

import shutil
from pathlib import Path

from crosslens.config.model_compatibility import check_descent
from crosslens.data.hub import model_directory
from crosslens.io.atomic import atomic_write
from crosslens.io.errors import InputError
from crosslens.io.records import read_json
from crosslens.models.loading import loading
from crosslens.models.tokenizer import load_tokenizer
from crosslens.workflow.job import run_job

WEIGHTS = "*.safetensors"  # pytorch_model.bin is a pickle, which may run code


def main(
    *, model: str | Path, out: Path, revision: str | None = None, base: Path | None = None
) -> None:
    """Check that `model` is a complete model directory, then copy its files (links followed).

    With a revision, `model` is one of the hub, downloaded to its cache first. `base` is the
    imported model that it descends from.
    """
    directory = model_directory(str(model), revision)
    check(directory)
    if base:
        check_descent(base.parent.name, [base, directory])
    with atomic_write(out) as partial:
        shutil.copytree(directory, partial, ignore=shutil.ignore_patterns(".*"))


def check(base: Path) -> None:
    """Raise InputError unless `base` holds a configuration, weights and a chat tokenizer."""
    from transformers import AutoConfig

    if not (base / "config.json").is_file():
        raise InputError(f"{base}: no config.json, so this is no Hugging Face model directory")
    if not any(base.glob(WEIGHTS)):
        raise InputError(f"{base}: no weights ({WEIGHTS})")
    for index in base.glob("*.index.json"):
        missing = {f for f in read_json(index)["weight_map"].values() if not (base / f).is_file()}
        if missing:
            raise InputError(f"{base}: {min(missing)}, which {index.name} names, is not there")
    with loading(base):
        AutoConfig.from_pretrained(base)
        tokenizer = load_tokenizer(base)
    if not tokenizer.chat_template or tokenizer.eos_token is None:
        raise InputError(f"{base}: its tokenizer lacks a chat template or an end-of-text token")


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        model=snakemake.params.model,
        base=snakemake.input.base,
        revision=snakemake.params.revision,
        out=snakemake.output[0],
    )
