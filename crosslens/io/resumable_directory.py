"""Fill a directory file by file; a killed job leaves its complete files to the next run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crosslens.io.atomic import publish, remove
from crosslens.io.errors import InputError
from crosslens.io.records import read_json, write_json

IDENTITY = "identity.json"
UNFINISHED = ".{}.unfinished"


@contextmanager
def resumable_directory(path: Path, identity: dict[str, Any]) -> Iterator[Path]:
    """Yield a hidden directory next to `path` that is moved to `path` when the block ends.

    After a kill it stays. A run with an equal `identity` continues with the complete files in it; a
    run with another one starts with an empty directory. An InputError, such as a full disk, deletes
    it. The caller writes each file atomically, and is the only writer.
    """
    folder = path.with_name(UNFINISHED.format(path.name))
    mark = folder / IDENTITY
    if mark.is_file() and read_json(mark) == identity:
        remove_partial_files(folder)
    else:
        remove(folder)
        folder.mkdir(parents=True)
        write_json(mark, identity)
    try:
        yield folder
    except InputError:
        remove(folder)
        raise
    publish(folder, path)
    (path / IDENTITY).unlink()


def remove_partial_files(folder: Path) -> None:
    """Delete the partial files of a killed writer, whichever machine it was on."""
    for partial in folder.glob(".*.tmp"):
        remove(partial)
