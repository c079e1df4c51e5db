"""What a killed training run left: continued if it is of the same run, never lost unasked."""

from pathlib import Path
from typing import Any

from crosslens.errors import InputError
from crosslens.files import read_json, remove, sha256, write_json

NAME = "run.json"


def claim(run: Path, identity: dict[str, Any], checkpoint: Path | None) -> None:
    """Make the directory `run` that of the run with this identity.

    An earlier attempt at the same run is left to be continued. One at another run is deleted if it
    reached no checkpoint; raises InputError, naming what differs, if it did: that may be days of
    training.
    """
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
        run.mkdir(parents=True)
        write_json(run / NAME, identity)


def identity(
    *, model: Path, data: Path, settings: dict[str, Any], seed: int, devices: int
) -> dict[str, Any]:
    """What makes two attempts the same run."""
    files = [model / "config.json", *sorted(model.glob("*.safetensors"))]
    return {
        "model": {file.name: sha256(file) for file in files},
        "data": sha256(data),
        "settings": settings,
        "seed": seed,
        "devices": devices,
    }
