"""Files that appear whole or not at all, and the hashes that identify them."""

import ctypes
import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from crosslens.io.errors import InputError

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, RENAME_EXCHANGE = -100, 2
ABANDONED = 3600  # seconds after which another machine's partial file counts as left behind


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it to disk and move it into place.

    Works for a file and for a directory (create it at the yielded path). On an exception nothing
    is left under the temporary name, and what was at `path` before is still there. What a killed
    process left of the same file is deleted first. The result has the permissions that the umask
    allows, whatever the library that wrote it chose.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    partial = path.with_name(f".{path.name}.{machine()}-{os.getpid()}.tmp")
    try:
        yield partial
        put(partial, path)
    finally:
        remove(partial)


def put(partial: Path, path: Path) -> None:
    """Move a complete file or directory to its name, in one step, once it is safe on the disk."""
    share(partial)
    sync(partial)
    if partial.is_dir() and path.is_dir():
        exchange(partial, path)
        remove(partial)
    else:
        partial.replace(path)
    sync_entry(path.parent)


def exchange(one: Path, other: Path) -> None:
    """Let two directories swap names, in one step where the file system can (renameat2).

    Where it cannot, `other` is moved away first, so that for a moment nothing has its name.
    """
    names = (AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other))
    if LIBC.renameat2(*names, RENAME_EXCHANGE):
        aside = one.with_name(f"{one.name.removesuffix('.tmp')}.old.tmp")
        other.rename(aside)
        one.rename(other)
        aside.rename(one)


def machine() -> str:
    """A short name of this machine for temporary files, from which it cannot be told."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]


def remove_leftovers(path: Path) -> None:
    """Delete the temporary files of `path` whose writers are gone.

    A writer on this machine is gone when no process has its number; of another machine's it is
    believed when nothing was written for an hour.
    """
    name = re.compile(rf"\.{re.escape(path.name)}\.(\w+)-(\d+)(\.old)?\.tmp")
    for entry in path.parent.iterdir():
        if found := name.fullmatch(entry.name):
            here = found[1] == machine()
            if not Path("/proc", found[2]).exists() if here else silent(entry) > ABANDONED:
                remove(entry)


def silent(path: Path) -> float:
    """Seconds since anything was written to a file or below a directory."""
    times = [path.stat().st_mtime]
    for file in path.rglob("*"):
        with suppress(FileNotFoundError):
            times.append(file.stat().st_mtime)
    return time.time() - max(times)


def share(path: Path) -> None:
    """Give a file, or a directory with all in it, the permissions that the umask allows.

    safetensors and tempfile make files that only their owner can read, on purpose: on a cluster the
    group could not read the study's models.
    """
    allowed = 0o777 & ~umask()
    for entry in tree(path):
        mode = entry.stat().st_mode
        entry.chmod(mode | (allowed if entry.is_dir() else allowed & 0o666))


def umask() -> int:
    """The process's umask, read without changing it (other threads may be writing)."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"^Umask:\s*(\d+)$", status, re.MULTILINE)[1], 8)


def tree(path: Path) -> Iterator[Path]:
    """A file, or a directory and everything in it; no symbolic links."""
    entries = [path, *path.rglob("*")] if path.is_dir() else [path]
    yield from (entry for entry in entries if not entry.is_symlink())


def remove(path: Path) -> None:
    """Delete a file or a directory, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def discard(path: Path) -> None:
    """Delete a directory that is of use only whole: it loses its name first, so that whoever
    comes after a kill finds all of it or nothing."""
    aside = path.with_name(f".{path.name}.{machine()}-{os.getpid()}.tmp")
    path.rename(aside)
    remove(aside)


def sync(path: Path) -> None:
    """Flush a file, or all of a directory, to the disk, so that a crash after the rename cannot
    leave it empty."""
    for entry in tree(path):
        sync_entry(entry)


def sync_entry(path: Path) -> None:
    """Flush one file's bytes, or one directory's list of names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole."""
    with whole(path) as partial:
        partial.write_text(text)


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file whole, indented, in the order given."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_jsonl(path: str | Path, rows: list[dict]) -> None:
    """Write one JSON object a line, whole."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def read_json(path: str | Path) -> Any:
    """Read a JSON file. Raises InputError when it is none."""
    return parsed(Path(path).read_bytes(), str(path))


def read_jsonl(path: str | Path) -> list[dict]:
    """Read one JSON object a line. Raises InputError naming the line when it is none."""
    lines = enumerate(Path(path).read_bytes().splitlines(), 1)
    return [parsed(line, f"{path}, line {number}", dict) for number, line in lines if line]


def parsed(text: bytes, where: str, kind: type = object) -> Any:
    """A JSON value of a kind. Raises InputError, naming `where`, for anything else."""
    try:
        value = json.loads(text)
    except ValueError as error:  # no JSON, or no UTF-8
        raise InputError(f"{where}: not JSON ({error}): correct it or make it anew") from error
    if not isinstance(value, kind):
        raise InputError(f"{where}: not a JSON object: correct it or make it anew")
    return value


def write_csv(path: str | Path, table: Any) -> None:
    """Write a pandas data frame as CSV, whole, without its index."""
    with whole(path) as partial:
        table.to_csv(partial, index=False)


def sha256(path: str | Path) -> str:
    """Hex digest of a file's bytes, or of the names and bytes of all files of a directory."""
    path = Path(path)
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.relative_to(path).as_posix().encode() if path.is_dir() else b"")
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()
