"""Resume interrupted training runs.

A run is resumed only if model, data, settings, seed, number of devices, code and versions of
packages are the same. Checkpoints of a different run are never deleted. On a CPU a resumed run
keeps its number of threads, since sums round differently with another.
"""

import re
from collections.abc import Container
from pathlib import Path
from typing import Any

from crosslens.config.sections import Section
from crosslens.io.atomic import remove, remove_leftovers
from crosslens.io.errors import InputError
from crosslens.io.records import read_json, sha256, write_json
from crosslens.posttraining.backend_process import job_threads

RUN_FILE = "run.json"
CHECKPOINT_GLOBS = ("checkpoint-*", "global_step_*")  # Hugging Face's names, and verl's
COMPLETE_MARK = "complete"  # file in a checkpoint once it is completely written
# The state that a trainer resumes from, most of a checkpoint's size; global_step* is DeepSpeed's.
STATE_FILES = ("optimizer*", "scheduler*", "scaler*", "rng_state*", "global_step*")


def start_or_resume(run: Path, identity: dict[str, Any]) -> Path | None:
    """Prepare the directory `run`, and return the checkpoint to resume from, None without one.

    `identity` is that of `run_identity`. Raises InputError when the directory has a checkpoint of a
    different run.
    """
    checkpoint = last_complete_checkpoint(run)
    prepare_run_directory(run, identity, checkpoint)
    return checkpoint


def prepare_run_directory(run: Path, identity: dict[str, Any], checkpoint: Path | None) -> None:
    """Prepare the directory `run` for a run with this identity; `checkpoint` is the last in it.

    An interrupted run with the same identity is kept. A different run is deleted if it has no
    checkpoint. Raises InputError naming the differences if it has one, as that may be days of
    training.
    """
    run.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(run)  # of a finished run whose deletion was interrupted
    previous = read_json(run / RUN_FILE) if (run / RUN_FILE).is_file() else {}
    differing = [key for key in identity if previous.get(key) != identity[key]]
    if not differing and checkpoint:
        print(f"resuming from {checkpoint.name}")
    elif checkpoint:
        raise InputError(
            f"{run}: the directory contains {checkpoint.name} of a run with different "
            f"{' and '.join(differing)}. Restore the old values to resume, or delete the "
            "directory to start from scratch."
        )
    else:
        remove(run)
        run.mkdir()
        write_json(run / RUN_FILE, identity | {"threads": job_threads()})


def run_threads(run: Path) -> str:
    """Return the number of threads that a run on a CPU was started with, whatever this job has."""
    threads = read_json(run / RUN_FILE).get("threads", job_threads())
    if threads != job_threads():
        print(f"{threads} thread(s), with which the run was started, instead of {job_threads()}")
    return threads


def run_identity(
    *,
    model: Path,
    data: Path,
    settings: Section,
    seed: int,
    devices: int,
    software: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what must be equal for one run to resume another.

    `software` is its code and the versions of packages.
    """
    files = [file for file in sorted(model.iterdir()) if file.is_file() and file.name[0] != "."]
    return {
        "model": {file.name: sha256(file) for file in files},
        "data": sha256(data),
        "settings": settings.plain(),
        "seed": seed,
        "devices": devices,
        **(software or {}),
    }


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a directory, in order; some may be incomplete after a kill."""
    return sorted(matching_paths(folder, CHECKPOINT_GLOBS), key=checkpoint_step)


def last_complete_checkpoint(folder: Path) -> Path | None:
    """Return the last complete checkpoint in a directory, None without one."""
    complete = [path for path in list_checkpoints(folder) if (path / COMPLETE_MARK).is_file()]
    return complete[-1] if complete else None


def checkpoint_step(checkpoint: Path) -> int:
    """Return the step after which a checkpoint was saved."""
    return int(re.split(r"\D", checkpoint.name)[-1])


def mark_complete_and_prune(checkpoint: Path, kept: Container[int] | None = None) -> None:
    """Mark a checkpoint as complete, and delete the training state of earlier ones.

    Earlier checkpoints whose step is not in `kept` are deleted entirely, unless `kept` is None.
    """
    (checkpoint / COMPLETE_MARK).touch()
    for earlier in list_checkpoints(checkpoint.parent):
        if checkpoint_step(earlier) < checkpoint_step(checkpoint):
            keeps_model = kept is None or checkpoint_step(earlier) in kept
            for path in matching_paths(earlier, STATE_FILES) if keeps_model else [earlier]:
                remove(path)


def matching_paths(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Return the entries of a directory that match one of the patterns."""
    return [path for pattern in patterns for path in folder.glob(pattern)]
