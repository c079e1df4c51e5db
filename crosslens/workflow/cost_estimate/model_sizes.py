"""Get the size of a language model without downloading it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from crosslens.config.locations import is_synthetic
from crosslens.config.model_compatibility import with_common_names
from crosslens.config.sections import ModelSource
from crosslens.config.study import StudyConfig
from crosslens.io.errors import InputError
from crosslens.io.records import read_json


class Size(NamedTuple):
    """Dimensions of a language model."""

    layers: int
    d_model: int
    parameters: float
    cache: int  # numbers that a token adds to the keys and values of all layers
    vocabulary: int  # rows of the output layer


SIZES = {  # of models on the hub, from their config.json and safetensors' metadata
    "Qwen/Qwen3-4B-Base": Size(36, 2560, 4.02e9, 73_728, 151_936),
    "Qwen/Qwen2.5-7B": Size(28, 3584, 7.62e9, 28_672, 152_064),
    "meta-llama/Llama-3.1-8B-Instruct": Size(32, 4096, 8.03e9, 65_536, 128_256),
    "Qwen/Qwen3-32B": Size(64, 5120, 32.8e9, 131_072, 151_936),
    "Qwen/Qwen2.5-0.5B": Size(24, 896, 494e6, 6144, 151_936),
    "Qwen/Qwen3-14B-Base": Size(40, 5120, 14.8e9, 81_920, 151_936),
    "allenai/OLMo-2-0425-1B": Size(16, 2048, 1.48e9, 65_536, 100_352),
}


def size_of(key: str, source: ModelSource, study: StudyConfig) -> Size:
    """Return the size of a known model of the hub, a local one or the synthetic data's."""
    if source.model in SIZES:
        return SIZES[source.model]
    if study.world and is_synthetic(source.model, study):
        return from_fields(study.world.model.model_dump())
    if (file := Path(source.model) / "config.json").is_file():
        try:
            return from_fields(read_json(file))
        except KeyError as field:
            raise InputError(
                f"{key}: {file} has no {field}, so the model's size is not known. Add the model to "
                "SIZES in crosslens/workflow/cost_estimate/model_sizes.py."
            ) from field
    raise InputError(
        f"{key}: the size of {source.model} is not known before it is downloaded. Give a local "
        "directory, or add the model to SIZES in crosslens/workflow/cost_estimate/model_sizes.py, "
        f"which has {', '.join(SIZES)}."
    )


def from_fields(fields: Mapping[str, Any]) -> Size:
    """Return the size from the fields of config.json: attention, gated MLP, embeddings."""
    fields = with_common_names(fields)
    d, layers = fields["hidden_size"], fields["num_hidden_layers"]
    heads = fields["num_attention_heads"]
    groups, head = fields.get("num_key_value_heads") or heads, fields.get("head_dim") or d // heads
    layer = 2 * d * head * (heads + groups) + 3 * d * (fields.get("intermediate_size") or 4 * d)
    tables = 1 if fields.get("tie_word_embeddings", True) else 2
    words = fields.get("vocab_size", 1000)
    parameters = layers * layer + tables * d * words
    return Size(layers, d, parameters, cache=2 * layers * groups * head, vocabulary=words)
