"""Find the models of a study that need a chat template, and those that lack one."""

from pathlib import Path

from crosslens.config.chat_template_file import has_chat_template
from crosslens.config.json_files import read_object
from crosslens.config.locations import is_synthetic
from crosslens.config.sections import ModelSource
from crosslens.config.study import StudyConfig
from crosslens.config.study_design import given, trained, trains
from crosslens.io.errors import InputError


def models_with_template(study: StudyConfig) -> dict[str, ModelSource]:
    """Return the models that need a chat template, by key.

    These are each base model that is trained, the teacher, and all models if there are math sets.
    """
    models = {
        f"families.{family}.{variant}": model
        for family, entry in study.families.items()
        for variant, model in given(entry).items()
        if study.evaluation.math or (variant == "base" and trained(entry))
    }
    traces = study.traces
    if traces and traces.teacher and trains(study.families):
        models["traces.teacher"] = ModelSource(model=traces.teacher, revision=traces.revision)
    return models


def check_chat_templates(study: StudyConfig) -> None:
    """Raise InputError for a model without the chat template that it needs.

    A model of the hub is checked by the record of its download, if there is one.
    """
    for key, source in models_with_template(study).items():
        if source.revision:
            lacks = download_lacks_template(key, source, study)
        else:
            folder = Path(source.model)
            lacks = not is_synthetic(source.model, study) and not has_chat_template(key, folder)
        if lacks:
            raise InputError(f"{key}: {without_template(source.model, hub=bool(source.revision))}")


def download_lacks_template(key: str, source: ModelSource, study: StudyConfig) -> bool:
    """Return whether the record of a model's download says that it has no chat template."""
    file = Path("results", study.study, "downloads", f"{key}.json")
    record = read_object(key, file) if file.is_file() else {}
    same = (record.get("repository"), record.get("revision")) == (source.model, source.revision)
    return same and record.get("chat_template") is False


def without_template(model: str, *, hub: bool) -> str:
    """Return the error message for a model that lacks its chat template."""
    fix = "Give a local copy with chat_template.jinja" if hub else "Add chat_template.jinja"
    return (
        f"the tokenizer of {model} has no chat template, which math sets, training and its "
        f"teacher need. {fix}, or set evaluation.math: {{}} if nothing is trained."
    )
