"""Check what a study reads from the hub: reachable, permitted, and complete in the cache."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crosslens.config.chat_templates import models_with_template, without_template
from crosslens.config.locations import named_sources
from crosslens.config.sections import ModelSource
from crosslens.config.study import StudyConfig
from crosslens.config.study_design import given, trains
from crosslens.workflow.doctor.finding import Finding, error, ok, warning
from crosslens.workflow.doctor.machine import GB, existing

PROBE = "crosslens.workflow.doctor.hub_probe"


def hub_items(study: StudyConfig) -> list[dict[str, Any]]:
    """Return the models, data sets and benchmarks that the study reads from the hub."""
    templates = models_with_template(study)
    items = [
        item(key, "model", model.model, model.revision) | {"chat_template": key in templates}
        for key, model in models(study)
    ]
    for key, source in named_sources(study):
        if trains(study.families) or not key.startswith("problems."):
            items.append(item(key, "dataset", source.dataset, source.revision, source.files))
    return [entry for entry in items if entry["revision"]]


def item(
    key: str, kind: str, name: str, revision: str | None = None, files: str | None = None
) -> dict[str, Any]:
    """Return one model, data set or benchmark as the probe reads it."""
    return {"key": key, "kind": kind, "name": name, "revision": revision, "files": files}


def models(study: StudyConfig) -> Iterator[tuple[str, ModelSource]]:
    """Yield (key, model) of every model that the study reads."""
    for family, entry in study.families.items():
        for variant, model in given(entry).items():
            yield f"families.{family}.{variant}", model
    traces = study.traces
    if traces and traces.teacher and trains(study.families):
        yield "traces.teacher", ModelSource(model=traces.teacher, revision=traces.revision)


def judge(answers: Mapping[str, Any]) -> list[Finding]:
    """Return a finding for the hub, for each item, and for the disk that downloads need."""
    if reason := answers.get("error"):
        return [error("hub", reason)]
    items = answers["items"]
    return [
        connection(answers),
        *(item_finding(key, answer, answers["endpoint"]) for key, answer in items.items()),
        *cache_disk(answers["cache"], sum(answer.get("bytes", 0) for answer in items.values())),
    ]


def connection(answers: Mapping[str, Any]) -> Finding:
    """Judge whether the hub answers."""
    endpoint, cache = answers["endpoint"], f"the cache {answers['cache']}"
    if answers["offline"]:
        text = f"offline (HF_HUB_OFFLINE): only {cache} is read; neither revisions nor licences "
        return warning("hub", f"{text}are checked. Unset it if there is a network.")
    if answers["unreachable"]:
        text = f"{endpoint} does not answer ({answers['unreachable']}): only {cache} is checked. "
        return warning("hub", f"{text}Correct the network, or export HF_HUB_OFFLINE=1.")
    return ok("hub", f"{endpoint} answers; {cache}")


def item_finding(key: str, answer: Mapping[str, Any], endpoint: str) -> Finding:
    """Judge one model or data set."""
    name, status = answer["name"], answer["status"]
    if answer.get("script"):
        return error(
            key,
            f"{name} has a loading script, which is not run. Set revision: refs/convert/parquet, "
            "the hub's own conversion, and its files; or give a local file.",
        )
    if status == "no chat template":
        return error(key, without_template(name, hub=True))
    if status == "cached":
        return ok(key, f"{name} is in the cache")
    if status == "found":
        return ok(key, download(name, answer))
    return error(key, f"{name}: {PROBLEMS[status].format(**{'reason': '', **answer}, at=endpoint)}")


PROBLEMS = {
    "gated": "its licence is not accepted. Accept it at {at}/{name} and set HF_TOKEN.",
    "no revision": "the hub has no such revision. Correct it.",
    "no repository": "the hub has no such name, or it is private. Correct it, or set HF_TOKEN.",
    "failed": "{reason}. Try again.",
    "not cached": "not complete in the cache {reason}. Download it on a machine with network "
    "access (HF_HOME on a shared file system).",
}


def download(name: str, answer: Mapping[str, Any]) -> str:
    """Return how much of an item is to be downloaded."""
    if not answer["missing"]:
        return f"{name} is complete in the cache ({answer['files']} files)"
    size = answer["bytes"] / GB
    return f"{name}: {answer['missing']} of {answer['files']} files to download, {size:.1f} GB"


def cache_disk(cache: str, needed: int) -> Iterator[Finding]:
    """Compare the downloads with the free disk space of the cache."""
    if not needed:
        return
    free = shutil.disk_usage(existing(Path(cache))).free
    text = f"{needed / GB:.1f} GB to download, {free / GB:.0f} GB free in {cache}"
    enough = ok("hub's cache", text)
    fix = "Free disk space, or set HF_HOME to a larger disk."
    yield enough if needed <= free else error("hub's cache", f"{text}. {fix}")
