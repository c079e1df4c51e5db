"""List what was downloaded from the hub, with sizes on disk and licences."""

import csv
from collections.abc import Sequence
from pathlib import Path

from crosslens.io.atomic import atomic_write
from crosslens.io.records import read_json

COLUMNS = ["key", "repository", "revision", "commit", "licence", "gated", "files", "gigabytes"]


def rows(records: Sequence[str]) -> list[list[str]]:
    """Return one row of COLUMNS for each record of a download."""
    lines = []
    for path in map(Path, records):
        record = read_json(path)
        size = sum(record["files"].values()) / 1e9
        names = ("repository", "revision", "commit", "licence")
        values = [record[name] for name in names]
        gated = {True: "yes", False: "no", None: "unknown"}[record["gated"]]
        lines.append([path.stem, *values, gated, str(len(record["files"])), f"{size:.3f}"])
    return lines


def write_table(records: Sequence[str], out: Path) -> None:
    """Write the table of all downloads as CSV."""
    with atomic_write(out) as partial, partial.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows(records)])


def terminal_table(records: Sequence[str]) -> str:
    """Return the table for the terminal; the sum counts a repository once, however often named."""
    table = rows(records)
    if not table:
        return "downloads: the configuration names nothing on the hub"
    sizes: dict[tuple[str, str], float] = {}
    for path in map(Path, records):
        record = read_json(path)
        for name, size in record["files"].items():
            sizes[f"{record['repository']}@{record['commit']}", name] = size
    shown = [[row[i] for i in (0, 1, 4, 5, 7)] for row in [COLUMNS, *table]]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in shown]
    return "\n".join([*lines, f"in all: {sum(sizes.values()) / 1e9:.3f} GB in the hub's cache"])
