"""Rows that a killed job does not lose: appended as they come, found again by the next attempt."""

import json
import os
from pathlib import Path
from typing import Any

from crosslens.io.files import whole


class Journal:
    """A file of JSON lines beside `out`, under a first line that says what the rows are of.

    Rows of an attempt with another identity are dropped, and so is a last line cut by a kill.
    """

    def __init__(self, out: Path, identity: dict[str, Any]) -> None:
        self.path = out.with_name(f".{out.name}.journal")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        head, self.rows = f"{json.dumps(identity, sort_keys=True)}\n".encode(), []
        content = self.path.read_bytes() if self.path.exists() else b""
        if content.startswith(head):
            kept = content[: content.rfind(b"\n") + 1]
            self.rows = [json.loads(line) for line in kept[len(head) :].splitlines()]
        else:
            kept = head
        if kept != content:
            with whole(self.path) as partial:  # a kill in here loses no row
                partial.write_bytes(kept)

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Write rows through to the disk."""
        with self.path.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
        self.rows += rows

    def delete(self) -> None:
        """The rows are in their place: the journal is not needed any more."""
        self.path.unlink()
