"""The weights of a checkpoint as its safetensors files store them."""

from pathlib import Path
from typing import TYPE_CHECKING

from crosslens.config.model_compatibility import WEIGHTS
from crosslens.io.errors import InputError
from crosslens.io.records import read_json
from crosslens.models.loading import load_config

if TYPE_CHECKING:
    import torch

HEAD = "lm_head.weight"
EMBEDDINGS = ("embed_tokens.weight", "wte.weight")  # ends of names


def weight_files(folder: Path) -> list[Path]:
    """Return a checkpoint's files of weights, those that transformers reads.

    Other files may hold the same weights under other names (Mistral's consolidated.safetensors).
    Raises InputError when there are none.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        return [folder / name for name in sorted({*read_json(index)["weight_map"].values()})]
    files = sorted(folder.glob(WEIGHTS))
    if not files:
        raise InputError(f"{folder}: there is no {WEIGHTS} file. Provide a model in this format.")
    return files


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a checkpoint's tensors by name, from the headers of its files.

    Raises InputError when there are no files.
    """
    from safetensors import safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as opened:
            shapes |= {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    return shapes


def is_tied(folder: Path) -> bool:
    """Return whether the head is tied to the embeddings, so that it need not be stored.

    By config.json or, if it does not say so, by the architecture's default.
    """
    return bool(load_config(folder).tie_word_embeddings)


def check_tied_head(folder: Path) -> None:
    """Raise InputError where config.json ties a head that is stored and is not the embeddings.

    Which of the two computes the logits would depend on the library. Qwen3-0.6B and 1.7B store a
    head that is equal.
    """
    if not is_tied(folder):
        return
    stored = tensors_ending_in(folder, (HEAD, *EMBEDDINGS))
    head = stored.pop(HEAD, None)
    if head is not None and not all(head.equal(embeddings) for embeddings in stored.values()):
        raise InputError(
            f"{folder}: its config.json ties the head to the embeddings, but {HEAD} differs from "
            "them. Set tie_word_embeddings to false, or remove that tensor."
        )


def tensors_ending_in(folder: Path, ends: tuple[str, ...]) -> "dict[str, torch.Tensor]":
    """Return the tensors whose names end in one of `ends`."""
    from safetensors import safe_open

    tensors: dict[str, torch.Tensor] = {}
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as opened:
            names = [name for name in opened.keys() if name.endswith(ends)]  # noqa: SIM118
            tensors |= {name: opened.get_tensor(name) for name in names}
    return tensors
