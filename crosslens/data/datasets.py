"""Read data sets as rows, in file or random order: JSON lines, JSON or Parquet, local or hub."""

import codecs
import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from crosslens.data.hub import dataset_directory
from crosslens.io.errors import InputError
from crosslens.io.records import parse_json

if TYPE_CHECKING:
    from crosslens.config.sections import DatasetSource

SUFFIXES = (".jsonl", ".json", ".parquet")


def files_of(source: "DatasetSource") -> list[Path]:
    """Return the files of a source of the configuration, sorted; download those of the hub.

    Raises InputError when there are none.
    """
    root, pattern = Path(source.dataset), source.files
    if source.revision:
        root = dataset_directory(source.dataset, source.revision, pattern)
    if root.is_file():
        return [root]
    paths = sorted(path for path in root.glob(pattern or "**/*") if path.suffix in SUFFIXES)
    if not paths:
        raise InputError(
            f"{source.dataset}: no file{f' {pattern}' if pattern else ''} ends with "
            f"{', '.join(SUFFIXES)}. Correct `files` or the data set."
        )
    return paths


def rows(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Return all rows, file by file. Raises InputError naming a line that is not a JSON object."""
    for file in files:
        yield from opened(file)


def shuffled_rows(files: Sequence[Path], seed: int) -> Iterator[dict[str, Any]]:
    """Return all rows in an order that is random over all files.

    JSON lines are read from disk on demand, so a corpus need not fit into memory.
    """
    parts = [opened(file) for file in files]
    ends = list(accumulate(map(len, parts)))
    for row in np.random.default_rng(seed).permutation(ends[-1]):
        part = bisect_right(ends, row)
        yield parts[part][int(row) - (ends[part] - len(parts[part]))]


def draw_rows(rows: list[dict[str, Any]], most: int, seed: int) -> list[dict[str, Any]]:
    """Return at most `most` rows, drawn at random, in file order.

    The rows of a smaller draw are a subset of those of a larger one.
    """
    drawn = np.random.default_rng(seed).permutation(len(rows))[:most]
    return [rows[row] for row in sorted(drawn)]


def opened(file: Path) -> "Rows":
    """Return the rows of one file."""
    if file.suffix == ".parquet":
        return Parquet(file)
    return whole_json(file) if file.suffix == ".json" else JsonLines(file)


def whole_json(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a .json file, which holds one list or JSON lines.

    Raises InputError naming the file and the entry that is not an object.
    """
    content = file.read_bytes().removeprefix(codecs.BOM_UTF8)
    if not content.lstrip().startswith(b"["):
        return list(JsonLines(file))
    rows = parse_json(content, str(file))
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise InputError(f"{file}, entry {number}: not a JSON object. Correct the file.")
    return rows


@runtime_checkable
class Rows(Protocol):
    """Rows of a file, each read on demand by its number."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, row: int, /) -> dict[str, Any]:
        """Return a row. Raises IndexError if it does not exist."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield all rows in order."""
        return (self[row] for row in range(len(self)))


class Parquet(Rows):
    """Rows of a Parquet file."""

    def __init__(self, file: Path) -> None:
        import pyarrow.parquet

        try:
            self.table = pyarrow.parquet.read_table(file, memory_map=True)
        except pyarrow.ArrowInvalid as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{file}: this Parquet file is damaged ({reason}). Replace it."
            ) from error

    def __len__(self) -> int:
        return self.table.num_rows

    def __getitem__(self, row: int, /) -> dict[str, Any]:
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self.table.slice(row, 1).to_pylist()[0]


class JsonLines(Rows):
    """Rows of a JSON-lines file, read on demand. Empty lines are skipped."""

    def __init__(self, file: Path) -> None:
        self.path = file
        self.starts, self.numbers = index(file)
        self.stream = file.open("rb")

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, row: int, /) -> dict[str, Any]:
        if not 0 <= row < len(self):
            raise IndexError(row)
        self.stream.seek(self.starts[row])
        try:
            value = json.loads(self.stream.readline())
        except (json.JSONDecodeError, UnicodeDecodeError):
            value = None
        if not isinstance(value, dict):
            raise InputError(
                f"{self.path}, line {self.numbers[row]}: not a JSON object. Correct the file."
            )
        return value


def index(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the byte offset and number of each line that is not empty."""
    starts, numbers, offset = [], [], 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                starts.append(offset)
                numbers.append(number)
            offset += len(line)
    return np.array(starts, dtype=np.int64), np.array(numbers, dtype=np.int64)
