"""From an engine's checkpoint to a plain Hugging Face directory."""

import shutil
from pathlib import Path

from crosslens.io.atomic import atomic_write
from crosslens.io.errors import InputError
from crosslens.io.records import read_json

WEIGHTS = "*.safetensors"


def export(weights: Path, base: Path, out: Path) -> None:
    """Write the checkpoint `weights` to `out` as a plain directory: its tensors, in `base`'s dtype.

    All other files (configuration, tokenizer, generation settings) are the base model's: RL changes
    none of them, and another version of transformers would write them in another way. Raises
    InputError when the tensors are not those of `base`, or not finite.
    """
    files = sorted(weights.glob(WEIGHTS))
    expected, found = tensors(base), tensors(weights)
    if found != expected:
        name = sorted(found.items() ^ expected.items())[0][0]
        raise InputError(f"{weights}: checkpoint and base model differ in tensor {name}")
    with atomic_write(out) as partial:
        partial.mkdir()
        for file in base.iterdir():
            if file.is_file() and not file.match(WEIGHTS) and not file.match("*.index.json"):
                shutil.copy(file, partial / file.name)
        for file in files:
            convert(file, partial / file.name, base)
        for file in weights.glob("*.index.json"):
            shutil.copy(file, partial / file.name)


def tensors(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of all tensors in a directory's safetensors files, from their headers.

    Raises InputError when there are no files.
    """
    from safetensors import safe_open

    files = sorted(folder.glob(WEIGHTS))
    if not files:
        raise InputError(f"grpo: {folder} has no {WEIGHTS} file")
    shapes = {}
    for file in files:
        with safe_open(file, framework="pt") as opened:
            shapes |= {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    return shapes


def convert(source: Path, target: Path, base: Path) -> None:
    """Copy one safetensors file in the dtype that the base model's configuration names.

    Raises InputError when a weight is not finite: training has diverged.
    """
    import torch
    from safetensors.torch import load_file, save_file

    config = read_json(base / "config.json")
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    dtype = getattr(torch, name)
    weights = {key: value.to(dtype) for key, value in load_file(source).items()}
    for key, value in weights.items():
        if not value.isfinite().all():
            raise InputError(f"{source}: {key} is not finite: try a lower grpo.learning_rate")
    save_file(weights, target, metadata={"format": "pt"})
