"""Fill a directory file by file; an interrupted job leaves its complete files to the next run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crosslens.io.atomic import publish, remove
from crosslens.io.records import read_json, write_json

IDENTITY = "identity.json"


@contextmanager
def resumable_directory(path: Path, identity: dict[str, Any]) -> Iterator[Path]:
    """Yield a hidden directory next to `path` that is moved to `path` when the block ends.

    After an error or a kill it stays, unless it is empty. A run with an equal `identity` continues
    with the files in it; a run with another one starts with an empty directory. The caller writes
    each file atomically.
    """
    folder = path.with_name(f".{path.name}.unfinished")
    mark = folder / IDENTITY
    if not (mark.is_file() and read_json(mark) == identity):
        remove(folder)
        folder.mkdir(parents=True)
        write_json(mark, identity)
    try:
        yield folder
    except BaseException:
        if list(folder.iterdir()) == [mark]:
            remove(folder)
        raise
    mark.unlink()
    publish(folder, path)
