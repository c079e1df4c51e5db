"""Copy a family's base model into the study, so that every variant lies in the same place."""

import shutil
from pathlib import Path

from crosslens.errors import InputError
from crosslens.files import whole

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


def main(*, base: Path, out: Path) -> None:
    """Check that `base` is a complete model directory, then copy its files (links followed)."""
    check(base)
    with whole(out) as partial:
        shutil.copytree(base, partial, ignore=shutil.ignore_patterns(".*"))


def check(base: Path) -> None:
    """Raise InputError unless `base` holds a configuration, weights and a chat tokenizer."""
    from transformers import AutoConfig, AutoTokenizer

    if not (base / "config.json").is_file():
        raise InputError(f"{base}: no config.json, so this is no Hugging Face model directory")
    if not any(file for pattern in WEIGHTS for file in base.glob(pattern)):
        raise InputError(f"{base}: no weights ({' or '.join(WEIGHTS)})")
    try:
        AutoConfig.from_pretrained(base)
        tokenizer = AutoTokenizer.from_pretrained(base)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{base} does not load: {str(error).splitlines()[0]}") from error
    if not tokenizer.chat_template or tokenizer.eos_token is None:
        raise InputError(f"{base}: its tokenizer lacks a chat template or an end-of-text token")


if __name__ == "__main__":
    from crosslens.errors import one_line

    with one_line(snakemake.log[0]):
        main(base=Path(snakemake.input.base), out=Path(snakemake.output[0]))
