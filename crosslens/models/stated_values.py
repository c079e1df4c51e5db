"""Detect values of a config.json that transformers ignores and replaces by defaults.

Releases of transformers name keys differently: 4 writes `rope_theta`, 5 `rope_parameters`. A
release that does not know a name silently uses its default, and all activations are wrong.
"""

import copy
import dataclasses
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError

from crosslens.io.errors import InputError
from crosslens.io.progress import log
from crosslens.io.records import read_json
from crosslens.models.loading import loading

# What an architecture that does not read it would compute differently.
COMPUTES = re.compile(r"rope|rotary|theta|scaling|window|softcap|multiplier|partial|clip_qkv")
# What has no part in the residual stream.
IRRELEVANT = re.compile(
    r"token_id|dtype|use_cache|max_position|n_positions|initializer|drop|tie_word|architectures"
    r"|vocab_size|label|output_|return_dict|chunk_size|problem_type|summary_"
)


def check_stated_values(path: Path, base: Path | None = None) -> None:
    """Raise InputError if a value in config.json of the model or its base is lost.

    A value is lost if it affects the computation and transformers does not read it, or if `base`
    states it and this file does not, so that transformers uses its default. Other values that
    transformers does not read are printed.
    """
    raw = read_json(path / "config.json")
    with loading(path):
        unread = unread_values(raw)
        lost = defaults_taken(raw, read_json(base / "config.json")) if base else {}
    for key, value in unread.items():
        if value and COMPUTES.search(key):
            raise InputError(
                f"{path}: this release of transformers does not read {key}: {value} in config.json "
                f"of {raw['model_type']} models. Use this release's name for the key, or remove it."
            )
    for key, value in lost.items():
        raise InputError(
            f"{path}: config.json lacks {key}, which is {value} in the base model, so transformers "
            f"would use its default. Add {key} to config.json."
        )
    if unread:
        log(f"{path}: values not read from config.json: {', '.join(sorted(unread))}")


def read_fields(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the configuration that transformers creates from a config.json."""
    from transformers import AutoConfig

    config = AutoConfig.for_model(**copy.deepcopy(raw))
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def unread_values(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the values that have no effect on the configuration and that no code names.

    Names with a leading underscore are transformers' own notes, and null does not count as a value.
    """
    from transformers import CONFIG_MAPPING

    fields, kind = read_fields(raw), CONFIG_MAPPING[raw["model_type"]]
    named = {*fields, *kind.attribute_map, "model_type"}
    unknown = [key for key in raw if key not in named and not key.startswith("_")]
    unread = [key for key in unknown if raw[key] is not None and not is_read(raw, key, fields)]
    code = source_of(kind) if unread else ""
    return {key: raw[key] for key in unread if f'"{key}"' not in code and f".{key}" not in code}


def defaults_taken(raw: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """Return the base's values that this file lacks and for which transformers uses defaults.

    A value counts only if adding it changes a field that affects the residual stream and has its
    default now: a descendant may state the value under the name that another release uses.
    """
    if raw.get("model_type") != base.get("model_type"):
        return {}
    fields, defaults = read_fields(raw), read_fields({"model_type": raw["model_type"]})
    lost = {}
    for key in base.keys() - raw.keys():
        changed = [
            name
            for name, value in read_fields({**raw, key: base[key]}).items()
            if value != fields[name] and not IRRELEVANT.search(name)
        ]
        if any(fields[name] == defaults[name] for name in changed):
            lost[key] = base[key]
    return lost


def is_read(raw: dict[str, Any], key: str, fields: dict[str, Any]) -> bool:
    """Return whether fields change when a value is removed, or when a number is changed."""
    value = raw[key]
    variants = [{name: other for name, other in raw.items() if name != key}]
    if isinstance(value, int | float):
        variants.append(raw | {key: 2 * value + 1})
    try:
        return any(read_fields(variant) != fields for variant in variants)
    except (ValueError, StrictDataclassError):  # only what is read can be refused
        return True


def source_of(kind: type) -> str:
    """Return the source of the module whose models have this class of configuration."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    return inspect.getsource(sys.modules[MODEL_FOR_CAUSAL_LM_MAPPING[kind].__module__])
