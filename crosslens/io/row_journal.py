"""Keep the rows of an interrupted job: each is written once computed, and the next run reads it."""

import json
import os
from pathlib import Path
from typing import Any

from crosslens.io.atomic import atomic_write
from crosslens.io.records import complete_lines


class RowJournal:
    """A hidden JSON-lines file next to `out`; its first line identifies what the rows belong to.

    Rows written under another identity are dropped, and so is a last line cut short by a kill.
    """

    def __init__(self, out: Path, identity: dict[str, Any]) -> None:
        self.path = out.with_name(f".{out.name}.journal")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        head = f"{json.dumps(identity, sort_keys=True)}\n".encode()
        content = self.path.read_bytes() if self.path.exists() else b""
        complete = complete_lines(content) if content.startswith(head) else head
        self.rows = [json.loads(line) for line in complete[len(head) :].splitlines()]
        if complete != content:
            with atomic_write(self.path) as partial:  # a kill here loses no row
                partial.write_bytes(complete)

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Add rows and flush them to disk."""
        with self.path.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
        self.rows += rows

    def delete(self) -> None:
        """Delete the journal, once its rows are in the job's output."""
        self.path.unlink()
