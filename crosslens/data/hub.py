"""Get models and data sets from the Hugging Face hub at a revision; without one, local paths.

huggingface_hub downloads them, so its settings apply: HF_TOKEN, HF_HOME, HF_ENDPOINT (a mirror),
HF_HUB_OFFLINE (only the cache is read).
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslens.config.chat_template_file import has_chat_template
from crosslens.config.model_compatibility import WEIGHTS
from crosslens.io.errors import InputError
from crosslens.io.progress import log

if TYPE_CHECKING:
    from huggingface_hub.hf_api import DatasetInfo, ModelInfo

MODEL_FILES = [WEIGHTS, "*.json", "*.jinja", "*.txt", "*.model"]  # no second copy as .bin
OTHER_COPIES = ["original/*", "metal/*", "consolidated*"]  # the last one Mistral's


def model_directory(model: str, revision: str | None) -> Path:
    """Return a model's directory: in the hub's cache with a `revision`, else the local path."""
    return snapshot(model, revision, "model", None) if revision else Path(model)


def model_identity(directory: Path, revision: str | None) -> dict[str, Any]:
    """Return what identifies a model, without reading its weights, as a job may hold GPUs.

    For a model of the hub, this is the commit, which names its folder in the cache. For a local
    one, it is the size and the time of the last change (ns) of each file that a model consists of.
    """
    if revision:
        return {"commit": directory.name}
    files = sorted(path for pattern in MODEL_FILES for path in directory.glob(pattern))
    stats = {path.relative_to(directory).as_posix(): path.stat() for path in files}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def dataset_directory(dataset: str, revision: str, files: str | None) -> Path:
    """Return the cache directory that holds the files of a data set that match a pattern."""
    return snapshot(dataset, revision, "dataset", files)


def patterns(kind: str, files: str | None) -> dict[str, list[str] | None]:
    """Return which files of a repository are downloaded and which are not."""
    if kind == "model":
        return {"allow_patterns": MODEL_FILES, "ignore_patterns": OTHER_COPIES}
    return {"allow_patterns": [files] if files else None, "ignore_patterns": None}


def download(repository: str, revision: str, kind: str, files: str | None) -> dict[str, Any]:
    """Download what is not in the cache yet; return a record of the cached files.

    The record has repository, kind, revision, commit, licence, whether it is gated (None if
    unknown), the files with their sizes in bytes and, for a model, whether it has a chat template.
    If the hub does not answer, the record describes the cache alone. Raises InputError if the disk
    is too small, the download fails, or a file's size differs from the hub's.
    """
    info = repository_info(repository, revision, kind)
    siblings = {file.rfilename: file.size for file in info.siblings} if info else {}
    expected = matching(siblings, kind, files)
    if info:
        check_disk(repository, info.sha, kind, expected)
    folder = snapshot(repository, revision, kind, files)
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    record = matching(sizes, kind, files)
    wrong = sorted(name for name, size in expected.items() if record.get(name) != size)
    if wrong or not record:
        what = f"{wrong[0]} is incomplete" if wrong else f"no file matches {files}"
        raise InputError(
            f"{repository} at {revision}: {what} in {folder}. Delete the folder, or "
            "correct `files`, and run again."
        )
    return {
        "repository": repository,
        "kind": kind,
        "revision": revision,
        "commit": folder.name,
        "licence": licence_of(info),
        "gated": bool(info.gated) if info else None,
        "files": record,
        **({"chat_template": has_chat_template(repository, folder)} if kind == "model" else {}),
    }


def matching(sizes: dict[str, int], kind: str, files: str | None) -> dict[str, int]:
    """Return the files of a repository that are downloaded."""
    from huggingface_hub.utils import filter_repo_objects

    return {name: sizes[name] for name in filter_repo_objects(sizes, **patterns(kind, files))}


def licence_of(info: "ModelInfo | DatasetInfo | None") -> str:
    """Return the licence that the hub's tags name."""
    tags = (info and info.tags) or []
    licences = [tag.removeprefix("license:") for tag in tags if tag.startswith("license:")]
    return ", ".join(licences) or "unknown"


def repository_info(repository: str, revision: str, kind: str) -> "ModelInfo | DatasetInfo | None":
    """Return the hub's information on a repository; None if the hub gives none."""
    from huggingface_hub import HfApi

    try:
        return HfApi().repo_info(repository, revision=revision, repo_type=kind, files_metadata=True)
    except Exception as error:  # as in `snapshot`
        log(f"{repository}: no information from the hub ({type(error).__name__})")
        return None


def check_disk(repository: str, commit: str, kind: str, sizes: dict[str, int]) -> None:
    """Raise InputError if the cache's disk has too little space for the missing files."""
    from huggingface_hub import constants, try_to_load_from_cache

    place = {"revision": commit, "repo_type": kind}
    missing = [
        n for n in sizes if not isinstance(try_to_load_from_cache(repository, n, **place), str)
    ]
    needed = sum(sizes[name] for name in missing)
    cache = Path(constants.HF_HUB_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    log(f"{repository}: {needed / 1e9:.3f} GB to download, {free / 1e9:.0f} GB free in {cache}")
    if needed > free:
        raise InputError(
            f"{repository}: {needed / 1e9:.1f} GB to download, but {cache} has {free / 1e9:.1f} GB "
            "free. Free disk space, or set HF_HOME to another disk."
        )


def snapshot(name: str, revision: str, kind: str, files: str | None) -> Path:
    """Download what is not in the cache yet. Raises InputError when it cannot."""
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(name, revision=revision, repo_type=kind, **patterns(kind, files))
        )
    except Exception as error:  # its releases raise those of three HTTP libraries, and hf_xet's
        reason = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
        raise InputError(
            f"{name} at {revision}: the hub does not provide this {kind} ({reason}). Check its "
            "name and revision, HF_TOKEN if it is gated, HF_ENDPOINT and HF_HUB_OFFLINE; or give a "
            "local path without a revision."
        ) from error
