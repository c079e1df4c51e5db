"""Convert a backend's checkpoint to a plain Hugging Face directory."""

import shutil
from pathlib import Path

from crosslens.config.model_compatibility import WEIGHTS
from crosslens.io.atomic import atomic_write
from crosslens.io.errors import InputError
from crosslens.io.records import read_json
from crosslens.models.stored_weights import HEAD, is_tied, tensor_shapes, weight_files
from crosslens.posttraining.resumable_run import CHECKPOINT_GLOBS


def export_checkpoint(weights: Path, base: Path, out: Path) -> None:
    """Write the tensors of checkpoint `weights` to the plain directory `out`, in `base`'s dtype.

    All other files (configuration, tokenizer, generation settings) are copied from the base model:
    RL does not change them, and another version of transformers would write them differently.
    A tied head may be stored by one of the two only. Raises InputError when the tensors differ from
    those of `base` in name or shape, or are not finite.
    """
    files = weight_files(weights)
    expected, shapes = tensor_shapes(base), tensor_shapes(weights)
    if is_tied(base):
        for stored in (expected, shapes):
            stored.pop(HEAD, None)
    if shapes != expected:
        name = sorted(shapes.items() ^ expected.items())[0][0]
        raise InputError(
            f"{weights}: checkpoint and base model differ in tensor {name}. Delete "
            f"{run_of(weights)} and run again."
        )
    with atomic_write(out) as partial:
        partial.mkdir()
        for file in base.iterdir():
            if file.is_file() and not file.match(WEIGHTS) and not file.match("*.index.json"):
                shutil.copy(file, partial / file.name)
        for file in files:
            convert_dtype(file, partial / file.name, base)
        for file in weights.glob("*.index.json"):
            shutil.copy(file, partial / file.name)


def run_of(weights: Path) -> Path:
    """Return the directory of the run whose checkpoint has these weights; verl nests deeper."""
    folders = (weights, *weights.parents)
    checkpoint = next((f for f in folders if any(map(f.match, CHECKPOINT_GLOBS))), weights)
    return checkpoint.parent


def convert_dtype(source: Path, target: Path, base: Path) -> None:
    """Copy one safetensors file in the dtype that the base model's configuration names.

    Raises InputError when a weight is not finite, because training has diverged.
    """
    import torch
    from safetensors.torch import load_file, save_file

    dtype = getattr(torch, dtype_name(base))
    weights = {key: value.to(dtype) for key, value in load_file(source).items()}
    for key, value in weights.items():
        if not value.isfinite().all():
            raise InputError(
                f"{source}: {key} is not finite. Lower sft.learning_rate or grpo.learning_rate."
            )
    save_file(weights, target, metadata={"format": "pt"})


def dtype_name(model: Path) -> str:
    """Return the dtype that a model's configuration names, as transformers 4 or 5 writes it."""
    config = read_json(model / "config.json")
    return config.get("dtype") or config.get("torch_dtype") or "float32"
