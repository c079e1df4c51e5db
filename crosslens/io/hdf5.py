"""Open HDF5 files. HDF5 locks every file that it opens, for reading too."""

from pathlib import Path
from typing import Any

import h5py

from crosslens.io.errors import InputError, lock_refusal


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading. Raises InputError when it is truncated, damaged or locked."""
    try:
        return h5py.File(path)
    except OSError as error:
        fault = f"this HDF5 file is truncated or damaged ({error}). Delete it and run again."
        raise InputError(f"{path}: {lock_refusal(error) or fault}") from error


def write_hdf5(path: Path, mode: str, **layout: Any) -> h5py.File:
    """Open an HDF5 file for writing: `mode` is w or r+, `layout` has h5py's other arguments.

    Raises InputError when it cannot be locked, and OSError for other reasons.
    """
    try:
        return h5py.File(path, mode, **layout)
    except OSError as error:
        if refusal := lock_refusal(error):
            raise InputError(f"{path}: {refusal}") from error
        raise
