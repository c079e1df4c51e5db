"""Check the models that a configuration names: complete, large enough, and comparable."""

import re
from pathlib import Path
from typing import Any

from crosslens.config.chat_templates import check_chat_templates
from crosslens.config.json_files import read_object
from crosslens.config.locations import existing_variants, is_synthetic, other_study
from crosslens.config.model_compatibility import (
    WEIGHTS,
    check_same_tokenizer_and_shape,
    with_common_names,
)
from crosslens.config.study import StudyConfig
from crosslens.config.study_design import given, trains
from crosslens.config.synthetic_constants import FACTS_FILE, SYNTHETIC_POSITIONS
from crosslens.io.errors import InputError

HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")


def check_models(study: StudyConfig) -> None:
    """Raise InputError unless the teacher and every family's models can be used."""
    traces = study.traces
    if traces and traces.teacher and trains(study.families):
        check_model("traces.teacher", traces.teacher, traces.revision, study)
    for family, entry in study.families.items():
        for variant, source in given(entry).items():
            key = f"families.{family}.{variant}"
            if fields := check_model(key, source.model, source.revision, study):
                check_layer(study.activations.layer, fields, family, source.model)
                check_positions(study.corpus.sequence_length, fields, key)
        if folders := existing_variants(study, family):
            check_same_tokenizer_and_shape(family, folders)
    check_chat_templates(study)


def check_model(
    key: str, path: str, revision: str | None, study: StudyConfig
) -> dict[str, Any] | None:
    """Return the fields of a model's config.json; None for a model of the hub.

    A model of the hub is checked by the job that downloads it. Raises InputError unless a local
    directory is complete.
    """
    if revision:
        check_hub_name(key, path)
        return None
    if study.world and is_synthetic(path, study):
        sizes = study.world.model.model_dump()
        return sizes | {"max_position_embeddings": SYNTHETIC_POSITIONS}
    folder = Path(path)
    if not folder.is_dir():
        hint = other_study(path, study)
        if HUB_NAME.match(path) and not hint:
            hint = f"If it is a model of the hub, add its revision (or main) next to {key}."
        raise InputError(
            f"{key}: there is no model directory {path}. {hint or 'Correct the path.'}"
        )
    if not any(folder.glob(WEIGHTS)):
        raise InputError(f"{key}: {path} has no weights ({WEIGHTS}). Add them.")
    check_facts(key, folder, study)
    return with_common_names(read_object(key, folder / "config.json"))


def check_facts(key: str, folder: Path, study: StudyConfig) -> None:
    """Raise InputError for a synthetic model that was pretrained on the facts of other data."""
    if study.world is None or not (folder / FACTS_FILE).is_file():
        return
    asked = {"seed": study.seed, "max_operations": study.world.max_operations}
    if (facts := read_object(key, folder / FACTS_FILE)) != asked:
        name = "base" if key.startswith("families.") else "teacher"
        raise InputError(
            f"{key}: {folder} was pretrained on the facts of {facts}, but the study uses {asked}. "
            f"Give results/{study.study}/world/{name}, which is pretrained for this study."
        )


def check_hub_name(key: str, name: str) -> None:
    """Raise InputError if a source with a revision does not have the form of a name on the hub."""
    if not HUB_NAME.match(name):
        raise InputError(
            f"{key}: {name} has a revision, but is not a name on the hub (organization/name). "
            "Correct it, or remove the revision of a local path."
        )


def check_layer(layer: str | int, fields: dict[str, Any], family: str, model: str) -> None:
    """Raise InputError unless the layer is the input of a decoder layer other than the first."""
    layers = fields.get("num_hidden_layers")
    if layers is None:
        raise InputError(
            f"families.{family}: {model} has no num_hidden_layers in its config.json, so it is "
            "not a text-only model. Give its text model."
        )
    if isinstance(layer, int) and not 1 <= layer < layers:
        raise InputError(
            f"activations.layer: {layer} is out of range for families.{family}, whose model has "
            f"{layers} layers. Choose 1 to {layers - 1}, or middle."
        )


def check_positions(length: int, fields: dict[str, Any], key: str) -> None:
    """Raise InputError for sequences that are longer than the model's maximum.

    Beyond it, rotary positions raise no error, but the activations are wrong. Scaled positions
    (`rope_scaling`, or `rope_parameters` of transformers 5) reach `factor` times as far.
    """
    most = fields.get("max_position_embeddings") or length
    scaling = fields.get("rope_scaling") or fields.get("rope_parameters") or {}
    original = scaling.get("original_max_position_embeddings") or most
    if length > max(most, original * (scaling.get("factor") or 1)):
        raise InputError(
            f"corpus.sequence_length: {length} is more than max_position_embeddings: {most} of "
            f"{key}. Lower the sequence length."
        )
