"""What a killed training run left: continued if it is of the same run, never lost unasked."""

import re
from collections.abc import Container
from pathlib import Path
from typing import Any

from crosslens.io.atomic import remove, remove_leftovers
from crosslens.io.errors import InputError
from crosslens.io.records import read_json, sha256, write_json

NAME = "run.json"
CHECKPOINT_GLOBS = ("checkpoint-*", "global_step_*")  # Hugging Face's name, and verl's
COMPLETE = "complete"  # stands in a checkpoint once all of it is written
# What a trainer needs to go on from a checkpoint, most of its size; global_step* is DeepSpeed's.
STATE_FILES = ("optimizer*", "scheduler*", "scaler*", "rng_state*", "global_step*")


def claim(run: Path, identity: dict[str, Any], checkpoint: Path | None) -> None:
    """Make the directory `run` that of the run with this identity.

    An earlier attempt at the same run is left to be continued. One at another run is deleted if it
    reached no checkpoint; raises InputError, naming what differs, if it did: that may be days of
    training.
    """
    run.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(run)  # of one that ended and was killed while it was deleted
    earlier = read_json(run / NAME) if (run / NAME).is_file() else {}
    differing = [key for key in identity if earlier.get(key) != identity[key]]
    if not differing and checkpoint:
        print(f"an earlier attempt reached {checkpoint.name}: going on from there")
    elif checkpoint:
        raise InputError(
            f"{run}: an earlier attempt with other {' and '.join(differing)} reached "
            f"{checkpoint.name}: delete the directory to start anew, or take those again to go on"
        )
    else:
        remove(run)
        run.mkdir()
        write_json(run / NAME, identity)


def identity(
    *, model: Path, data: Path, settings: dict[str, Any], seed: int, devices: int
) -> dict[str, Any]:
    """What makes two attempts the same run."""
    files = [file for file in sorted(model.iterdir()) if file.is_file() and file.name[0] != "."]
    return {
        "model": {file.name: sha256(file) for file in files},
        "data": sha256(data),
        "settings": settings,
        "seed": seed,
        "devices": devices,
    }


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a directory, in their order; a kill may have left some half written."""
    return sorted(found(folder, CHECKPOINT_GLOBS), key=step_of)


def last_checkpoint(folder: Path) -> Path | None:
    """The last one that is whole."""
    whole_ones = [path for path in checkpoints(folder) if (path / COMPLETE).is_file()]
    return whole_ones[-1] if whole_ones else None


def step_of(checkpoint: Path) -> int:
    """The step after which it was saved."""
    return int(re.search(r"\d+$", checkpoint.name)[0])


def close(checkpoint: Path, kept: Container[int] | None = None) -> None:
    """A checkpoint is written: the training state of those before it is not needed any more.

    Of those all else stays, if their step is in `kept` or none is given.
    """
    (checkpoint / COMPLETE).touch()
    for earlier in checkpoints(checkpoint.parent):
        if step_of(earlier) < step_of(checkpoint):
            stays = kept is None or step_of(earlier) in kept
            for path in found(earlier, STATE_FILES) if stays else [earlier]:
                remove(path)


def found(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Files and directories in a directory that match one of the patterns."""
    return [path for pattern in patterns for path in folder.glob(pattern)]
