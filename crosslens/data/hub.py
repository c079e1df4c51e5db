"""Models and data sets of the Hugging Face hub, at a revision; with none, local paths.

Through huggingface_hub, so its settings hold: HF_TOKEN, HF_HOME, HF_ENDPOINT (a mirror),
HF_HUB_OFFLINE (only what was downloaded before).
"""

from pathlib import Path

from crosslens.io.errors import InputError

MODEL_FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]  # no second copy as .bin
OTHER_COPIES = ["original/*", "metal/*"]


def model_directory(model: str, revision: str | None) -> Path:
    """The directory of a model: of the hub's at `revision`, in its cache, or the path `model`."""
    if revision is None:
        return Path(model)
    return snapshot(model, revision, "model", MODEL_FILES, OTHER_COPIES)


def dataset_directory(dataset: str, revision: str, files: str | None) -> Path:
    """The directory of the files of a data set of the hub that match a pattern, in the cache."""
    return snapshot(dataset, revision, "dataset", [files] if files else None, None)


def snapshot(
    name: str, revision: str, kind: str, wanted: list[str] | None, unwanted: list[str] | None
) -> Path:
    """Download what is not in the cache yet. Raises InputError, in one line, when it cannot."""
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                name,
                revision=revision,
                repo_type=kind,
                allow_patterns=wanted,
                ignore_patterns=unwanted,
            )
        )
    except Exception as error:  # its releases raise those of three HTTP libraries, and hf_xet's
        reason = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
        raise InputError(
            f"the {kind} {name} at {revision} cannot be had from the hub ({reason}): check its "
            "name and revision, HF_TOKEN where it is gated, HF_ENDPOINT and HF_HUB_OFFLINE, or "
            "give a local path and no revision"
        ) from error
