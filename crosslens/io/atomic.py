"""Write files and directories atomically: a path shows the complete result or nothing new."""

import ctypes
import hashlib
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, RENAME_EXCHANGE = -100, 2
ABANDONED_AFTER = 3600  # seconds without a write, after which another machine's writer is gone


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; on success flush it to disk and move it into place.

    Works for a file and for a directory (create it at the yielded path). After an exception the
    temporary path is deleted and the previous content of `path` is unchanged. Temporary files of
    killed writers of the same path are deleted first. The result has the permissions that the
    umask allows, whatever the writing library chose.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    partial = temporary_name(path)
    try:
        yield partial
        publish(partial, path)
    finally:
        remove(partial)


def temporary_name(path: Path) -> Path:
    """Return the hidden name under which this process writes `path`."""
    return path.with_name(f".{path.name}.{machine_id()}-{os.getpid()}.tmp")


def publish(partial: Path, path: Path) -> None:
    """Move a complete file or directory to its final name in one step, flushed to disk."""
    apply_umask(partial)
    flush(partial)
    if partial.is_dir() and path.is_dir():
        exchange(partial, path)
        remove(partial)
    else:
        partial.replace(path)
    flush_entry(path.parent)


def exchange(one: Path, other: Path) -> None:
    """Swap the names of two directories, atomically where the file system can (renameat2).

    Elsewhere `other` is moved away first, so that its name is missing for a moment.
    """
    names = (AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other))
    if LIBC.renameat2(*names, RENAME_EXCHANGE):
        aside = one.with_name(f"{one.name.removesuffix('.tmp')}.old.tmp")
        other.rename(aside)
        one.rename(other)
        aside.rename(one)


def machine_id() -> str:
    """Return a short identifier of this machine that does not reveal its host name."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]


def remove_leftovers(path: Path) -> None:
    """Delete temporary files of `path` whose writers are gone.

    A writer on this machine is gone when no process has its id. A writer on another machine is
    assumed to be gone after an hour without a write.
    """
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(\w+)-(\d+)(\.old)?\.tmp")
    for entry in path.parent.iterdir():
        match = pattern.fullmatch(entry.name)
        if match and is_abandoned(entry, machine=match[1], process=match[2]):
            remove(entry)


def is_abandoned(entry: Path, *, machine: str, process: str) -> bool:
    """Return whether the writer of a temporary file is gone."""
    if machine == machine_id():
        return not Path("/proc", process).exists()
    return seconds_since_write(entry) > ABANDONED_AFTER


def seconds_since_write(path: Path) -> float:
    """Return the seconds since the last write to a file, or to anything below a directory."""
    times = [path.stat().st_mtime]
    for file in path.rglob("*"):
        with suppress(FileNotFoundError):
            times.append(file.stat().st_mtime)
    return time.time() - max(times)


def apply_umask(path: Path) -> None:
    """Give a file, or a directory and its content, the permissions that the umask allows.

    safetensors and tempfile create files that only their owner can read. On a cluster the rest of
    the group could then not read the study's models.
    """
    allowed = 0o777 & ~umask()
    for entry in entries(path):
        mode = entry.stat().st_mode
        entry.chmod(mode | (allowed if entry.is_dir() else allowed & 0o666))


def umask() -> int:
    """Return the process's umask without changing it, as other threads may be writing files."""
    status = Path("/proc/self/status").read_text()
    match = re.search(r"^Umask:\s*(\d+)$", status, re.MULTILINE)
    assert match, "Linux lists the umask of every process"
    return int(match[1], 8)


def entries(path: Path) -> Iterator[Path]:
    """Yield a file, or a directory and everything in it; symbolic links are left out."""
    below = [path, *path.rglob("*")] if path.is_dir() else [path]
    yield from (entry for entry in below if not entry.is_symlink())


def remove(path: Path) -> None:
    """Delete a file or a directory if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_atomically(path: Path) -> None:
    """Delete a directory that is useless when incomplete.

    It is renamed first, so that a kill leaves either the complete directory or none.
    """
    aside = temporary_name(path)
    path.rename(aside)
    remove(aside)


def flush(path: Path) -> None:
    """Flush a file, or a directory and its content, so that a crash cannot leave it empty."""
    for entry in entries(path):
        flush_entry(entry)


def flush_entry(path: Path) -> None:
    """Flush the bytes of one file, or the list of names of one directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
