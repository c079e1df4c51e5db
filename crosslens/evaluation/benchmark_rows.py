"""Prepare the rows of a benchmark for its local file."""

import json
from collections.abc import Iterable
from typing import Any

from crosslens.io.errors import InputError

NO_ANSWER = (None, "")
NO_CHOICE = (*NO_ANSWER, -1, "-1")  # -1 is an answer of a math set, but no choice


def json_rows(rows: Iterable[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return rows without columns that JSON cannot hold (images, dates), and these names."""
    all_rows = list(rows)
    dropped = sorted({key for row in all_rows for key, value in row.items() if not is_json(value)})
    return [{k: v for k, v in row.items() if k not in dropped} for row in all_rows], dropped


def is_json(value: Any) -> bool:
    """Return whether a value can be written as JSON."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def field(doc: dict[str, Any], name: str) -> Any:
    """Return a column under its lower-case or capitalized name (AIME24 has the latter)."""
    return doc[name] if name in doc else doc[name.capitalize()]


def check_answers(key: str, rows: list[dict[str, Any]], column: str | None, *, math: bool) -> None:
    """Raise InputError if answers are hidden, as in the test splits of some data sets."""
    without = NO_ANSWER if math else NO_CHOICE
    hidden = sum(row.get(column) in without for row in rows if column in row)
    if hidden:
        raise InputError(
            f"{key}: {hidden} of {len(rows)} rows have no answer in the column {column}. Give the "
            "files of a split with answers."
        )
