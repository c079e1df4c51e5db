"""Load checkpoints in one way for evaluation, extraction and teachers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from crosslens.io.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOADING_ERRORS = (OSError, ValueError, RuntimeError, KeyError, SafetensorError)


@contextmanager
def loading(path: Path) -> Iterator[None]:
    """Turn errors of transformers and safetensors into an InputError that names the checkpoint."""
    try:
        yield
    except LOADING_ERRORS as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: this checkpoint does not load ({reason}). Restore or recreate it."
        ) from error


def load_network(path: Path, auto_class: Any, **options: Any) -> "PreTrainedModel":
    """Load a network for inference: bfloat16 on the GPU, or float32 on a CPU without one.

    `auto_class` is transformers' AutoModel or AutoModelForCausalLM; `options` are passed on to its
    `from_pretrained`. Raises InputError when the checkpoint does not load, or when it lacks
    weights, which transformers would replace by random numbers.
    """
    cuda = torch.cuda.is_available()
    dtype = torch.bfloat16 if cuda else torch.float32
    with loading(path):
        network, info = auto_class.from_pretrained(
            path, dtype=dtype, output_loading_info=True, **options
        )
    if missing := sorted(info["missing_keys"]):
        raise InputError(
            f"{path}: {len(missing)} weights are missing, the first is {missing[0]}. "
            "Restore or recreate the checkpoint."
        )
    return network.to("cuda" if cuda else "cpu").eval()
