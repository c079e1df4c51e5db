"""Check user-supplied files: they exist, are readable and have their columns. Errors name the key.

Light, for the checks before any job: neither torch nor pandas.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from crosslens.io.errors import InputError
from crosslens.io.records import is_unicode


def existing(key: str, path: str) -> Path:
    """Return the path of a file. Raises InputError when it does not exist."""
    if not Path(path).is_file():
        raise InputError(f"{key}: there is no file {path}. Correct the path.")
    return Path(path)


@contextmanager
def opened(key: str, path: str | Path) -> Iterator[TextIO]:
    """Open a text file. Raises InputError when it is missing, unreadable or not text."""
    try:
        with existing(key, str(path)).open(encoding="utf-8") as file:
            yield file
    except PermissionError as error:
        raise InputError(
            f"{key}: no permission to read {path}. Make it readable (chmod u+r)."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{key}: {path} is not UTF-8 text. Give a text file.") from error


def read_object(key: str, path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object. Raises InputError for any other content."""
    with opened(key, path) as file:
        return object_of(key, str(path), file.read())


def count_lines(key: str, path: str, enough: int) -> int:
    """Return the number of lines of a file that are not empty, counted up to `enough`."""
    with opened(key, path) as lines:
        return sum(1 for _ in islice(filter(str.strip, lines), enough))


def check_columns(key: str, path: str, needed: Iterable[str]) -> None:
    """Raise InputError unless a JSON-lines file has rows, and every row has these columns.

    Values may not be null, and text must be valid Unicode: dropping a row would change accuracies.
    """
    first_row(key, path)
    with opened(key, path) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = path if number == 1 else f"{path}, line {number},"
            row = object_of(key, where, line)
            if lacking := [column for column in needed if column not in row]:
                raise InputError(
                    f"{key}: {where} has no column {lacking[0]}, only {', '.join(row)}. Add or "
                    "rename a column."
                )
            for column in needed:
                if row[column] is None or not is_unicode(str(row[column])):
                    what = "null" if row[column] is None else "not valid Unicode"
                    raise InputError(f"{key}: {where} column {column} is {what}. Correct the row.")


def check_any_column(key: str, path: str, names: Iterable[str]) -> None:
    """Raise InputError unless a JSON-lines file's first row has one of these columns."""
    row = first_row(key, path)
    if not set(names) & set(row):
        *others, last = names
        wanted = f"{', '.join(others)} or {last}"
        raise InputError(
            f"{key}: {path} has no column {wanted}, only {', '.join(row)}. Add or rename a column."
        )


def first_row(key: str, path: str) -> dict[str, Any]:
    """Return the first row of a JSON-lines file. Raises InputError when there is none."""
    with opened(key, path) as lines:
        line = next(filter(str.strip, lines), "")
    if not line:
        raise InputError(f"{key}: {path} is empty. Give a file with rows.")
    return object_of(key, f"the first line of {path}", line)


def object_of(key: str, where: str, text: str) -> dict[str, Any]:
    """Return text as a JSON object. Raises InputError when it is not one."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{key}: {where} is not a JSON object. Correct the file.")
    return value
