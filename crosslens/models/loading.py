"""Load checkpoints in one way for evaluation, extraction and teachers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from crosslens.io.errors import InputError
from crosslens.models.device import best_device

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

LOADING_ERRORS = (
    *(OSError, ValueError, RuntimeError, KeyError, SafetensorError),
    StrictDataclassError,  # of a configuration
)


@contextmanager
def loading(path: Path) -> Iterator[None]:
    """Turn errors of transformers and safetensors into an InputError that names the checkpoint."""
    try:
        yield
    except LOADING_ERRORS as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: this checkpoint cannot be loaded ({reason}). Restore or recreate it."
        ) from error


def load_config(path: Path) -> "PretrainedConfig":
    """Return a checkpoint's configuration. Raises InputError when it cannot be loaded."""
    from crosslens.models.transformers_light import AutoConfig

    with loading(path):
        return AutoConfig.from_pretrained(path)


def load_network(
    path: Path,
    auto_class: Any,
    config: "PretrainedConfig | None" = None,
    dtype: torch.dtype | None = None,
) -> "PreTrainedModel":
    """Load a network for inference: bfloat16 on the GPU, or float32 on a CPU without one.

    `auto_class` is transformers' AutoModel or AutoModelForCausalLM; `config` replaces the
    checkpoint's, and `dtype` the one above. Raises InputError when the checkpoint cannot be loaded,
    or lacks weights, which transformers would replace by random numbers.
    """
    device = best_device()
    config = config or load_config(path)
    with loading(path):
        network, info = auto_class.from_pretrained(
            path,
            config=config,
            dtype=dtype or (torch.bfloat16 if device == "cuda" else torch.float32),
            output_loading_info=True,
            **attention_options(config),
        )
    if missing := sorted(info["missing_keys"]):
        raise InputError(
            f"{path}: {len(missing)} weights are missing; first: {missing[0]}. "
            "Restore or recreate the checkpoint."
        )
    return network.to(device).eval()


def attention_options(config: "PretrainedConfig") -> dict[str, str]:
    """Return arguments of `from_pretrained` that select the architecture's own attention.

    PyTorch's fused attention has no soft cap, and transformers silently leaves out Gemma 2's.
    """
    capped = getattr(config, "attn_logit_softcapping", None)
    return {"attn_implementation": "eager"} if capped else {}
