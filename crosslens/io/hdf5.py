"""Open HDF5 files."""

from pathlib import Path

import h5py

from crosslens.io.errors import InputError


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading. Raises InputError when it is truncated or damaged."""
    try:
        return h5py.File(path)
    except OSError as error:
        raise InputError(
            f"{path}: this HDF5 file is truncated or damaged ({error}). Delete it and run again."
        ) from error
