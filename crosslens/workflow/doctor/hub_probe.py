"""Query the hub and its cache for what a study reads from there; print the answers as JSON.

Runs in the analysis environment, which has huggingface_hub:
python -m crosslens.workflow.doctor.hub_probe < items.json
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import filter_repo_objects

from crosslens.config.chat_template_file import FILE, SETTINGS, has_chat_template
from crosslens.config.model_compatibility import WEIGHTS
from crosslens.data.hub import MODEL_FILES, OTHER_COPIES
from crosslens.io.errors import InputError

SECONDS = 10  # until a request to the hub counts as failed
TOGETHER = 8  # requests

Item = dict[str, Any]  # key, kind (model or dataset), name, revision, files, chat_template (needed)


def patterns(item: Item) -> dict[str, list[str] | None]:
    """Return which files of a repository a study downloads."""
    if item["kind"] == "model":
        return {"allow_patterns": MODEL_FILES, "ignore_patterns": OTHER_COPIES}
    return {"allow_patterns": [item["files"]] if item["files"] else None, "ignore_patterns": None}


def unreachable() -> str:
    """Return why the hub does not answer; "" if it does."""
    from huggingface_hub import get_session

    try:
        get_session().get(constants.ENDPOINT, timeout=SECONDS)
    except Exception as error:  # those of the HTTP library, whichever this release uses
        return next(iter(str(error).splitlines()), type(error).__name__) or type(error).__name__
    return ""


def ask(item: Item) -> Item:
    """Return the hub's answer about an item: its files, and those that the cache lacks."""
    kind = "model" if item["kind"] == "model" else "dataset"
    api = HfApi()
    try:
        info = api.repo_info(
            item["name"],
            repo_type=kind,
            revision=item["revision"],
            timeout=SECONDS,
            files_metadata=True,
        )
        if getattr(info, "gated", False):
            api.auth_check(item["name"], repo_type=kind)
        if lacks_template(item, info.sha):
            return {"status": "no chat template"}
    except GatedRepoError:
        return {"status": "gated"}
    except RevisionNotFoundError:
        return {"status": "no revision"}
    except RepositoryNotFoundError:
        return {"status": "no repository"}
    except Exception as error:  # as above
        return {"status": "failed", "reason": next(iter(str(error).splitlines()), "")}
    files = list(filter_repo_objects(info.siblings, key=lambda f: f.rfilename, **patterns(item)))
    names = [file.rfilename for file in info.siblings]
    if not files and not script_only(item["name"], names):
        return {"status": "failed", "reason": f"no file matches {item['files']}"}
    missing = [file for file in files if not is_cached(item["name"], file, info.sha, kind)]
    return {
        "status": "found",
        "files": len(files),
        "missing": len(missing),
        "bytes": sum(file.size or 0 for file in missing),
        "script": not files,
    }


def lacks_template(item: Item, commit: str) -> bool:
    """Return whether a model needs a chat template and has none; its small files are downloaded."""
    if not item.get("chat_template"):
        return False
    folder = snapshot_download(item["name"], revision=commit, allow_patterns=[FILE, SETTINGS])
    return not has_chat_template(item["key"], Path(folder))


def is_cached(name: str, file: Any, commit: str, kind: str) -> bool:
    """Return whether the cache has a file at a commit."""
    path = try_to_load_from_cache(name, file.rfilename, revision=commit, repo_type=kind)
    return isinstance(path, str)


def script_only(name: str, files: list[str]) -> bool:
    """Return whether a data set consists of a loading script, which datasets 4 does not run."""
    return f"{name.rpartition('/')[2]}.py" in files


def look(item: Item) -> Item:
    """Return what the cache has of an item, without asking the hub."""
    kind = "model" if item["kind"] == "model" else "dataset"
    try:
        folder = snapshot_download(
            item["name"],
            repo_type=kind,
            revision=item["revision"],
            local_files_only=True,
            **patterns(item),
        )
    except LocalEntryNotFoundError:
        return {"status": "not cached"}
    files = [path.relative_to(folder).as_posix() for path in Path(folder).rglob("*")]
    if lacking := incomplete(item, Path(folder), files):
        return {"status": "not cached", "reason": lacking}
    try:
        if item.get("chat_template") and not has_chat_template(item["key"], Path(folder)):
            return {"status": "no chat template"}
    except InputError as problem:
        return {"status": "failed", "reason": str(problem).rstrip(".")}
    script = kind == "dataset" and script_only(item["name"], files)
    return {"status": "cached", "script": script}


def incomplete(item: Item, folder: Path, files: list[str]) -> str:
    """Return what a folder of the cache lacks, as far as can be seen without the hub."""
    if item["kind"] == "model" and not any(Path(name).match(WEIGHTS) for name in files):
        return "no weights"
    named = set()
    for index in folder.glob("*.index.json"):
        named |= set(json.loads(index.read_text())["weight_map"].values())
    if lacking := sorted(named - set(files)):
        return f"{len(lacking)} files of weights are missing"
    wanted = filter_repo_objects((f for f in files if (folder / f).is_file()), **patterns(item))
    return "" if any(wanted) else "no file of the pattern"


def answers(items: list[Item]) -> dict[str, Any]:
    """Return what is known of each item, by its key."""
    offline = bool(constants.HF_HUB_OFFLINE)
    reason = "" if offline else unreachable()
    method = look if offline or reason else ask

    def about(item: Item) -> Item:
        return method(item) | {"name": item["name"]}

    with ThreadPoolExecutor(TOGETHER) as pool:
        answer_of = dict(zip([item["key"] for item in items], pool.map(about, items), strict=True))
    return {
        "endpoint": constants.ENDPOINT,
        "offline": offline,
        "unreachable": reason,
        "cache": constants.HF_HUB_CACHE,
        "items": answer_of,
    }


if __name__ == "__main__":
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    print(json.dumps(answers(json.load(sys.stdin))))
