"""Read and write text, JSON, JSON lines, CSV and arrays, and hash what identifies a file."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crosslens.io.atomic import atomic_write
from crosslens.io.errors import InputError

FIX = "Correct the file or recreate it."


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_write(path) as partial:
        partial.write_text(text)


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file atomically, indented, with keys in the given order."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_jsonl(path: str | Path, rows: list[dict]) -> None:
    """Write a file of one JSON object per line atomically."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def write_csv(path: str | Path, table: Any) -> None:
    """Write a pandas data frame as CSV atomically, without its index."""
    with atomic_write(path) as partial:
        table.to_csv(partial, index=False)


def write_arrays(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Write NumPy arrays to one compressed .npz file atomically."""
    import numpy as np

    with atomic_write(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_json(path: str | Path) -> Any:
    """Read a JSON file. Raises InputError when the file is not JSON."""
    return parse_json(Path(path).read_bytes(), str(path))


def read_jsonl(path: str | Path) -> list[dict]:
    """Read a file of one JSON object per line.

    Raises InputError naming the line that is not a JSON object.
    """
    lines = enumerate(Path(path).read_bytes().splitlines(), 1)
    return [parse_json(line, f"{path}, line {number}", dict) for number, line in lines if line]


def read_complete_jsonl(path: Path) -> list[dict]:
    """Read JSON lines, without a last line that was cut short; a missing file has no lines."""
    content = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in complete_lines(content).splitlines()]


def complete_lines(content: bytes) -> bytes:
    """Return the text up to and including the last newline."""
    return content[: content.rfind(b"\n") + 1]


def parse_json(text: bytes, where: str, kind: type = object) -> Any:
    """Return the JSON value in `text`. Raises InputError naming `where` when it is not a `kind`."""
    try:
        value = json.loads(text)
    except ValueError as error:  # invalid JSON, or invalid UTF-8
        raise InputError(
            f"{where}: not JSON ({error}). Correct the file or recreate it."
        ) from error
    if not isinstance(value, kind):
        raise InputError(f"{where}: not a JSON object. {FIX}")
    return value


def is_unicode(text: str) -> bool:
    """Return whether text has no unpaired surrogates, which tokenizers and files do not accept."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def rounded(value: Any, digits: int = 4) -> float | None:
    """Return a number with few significant digits; None for NaN, which JSON has not."""
    number = float(value)
    return None if math.isnan(number) else float(f"{number:.{digits}g}")


def sha256(path: str | Path) -> str:
    """Return the hex digest of a file, or of the names and bytes of all files of a directory."""
    path = Path(path)
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.relative_to(path).as_posix().encode() if path.is_dir() else b"")
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()
