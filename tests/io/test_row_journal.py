"""An interrupted job finds its rows again, even if its journal was cut short."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from crosslens.io import row_journal
from crosslens.io.row_journal import RowJournal

IDENTITY = {"seed": 0}
DIE = """
import os, signal, sys
from pathlib import Path
from crosslens.io.row_journal import RowJournal
write = Path.write_bytes
def write_half_and_die(path, content):
    write(path, content[: len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
Path.write_bytes = write_half_and_die
RowJournal(Path(sys.argv[1]), {"seed": 0})
"""


def test_kill_while_a_cut_journal_is_repaired_loses_no_row(tmp_path: Path) -> None:
    rows, out = [{"row": k, "text": "x" * 100} for k in range(5)], tmp_path / "out.jsonl"
    RowJournal(out, IDENTITY).append(rows)
    with (tmp_path / ".out.jsonl.journal").open("a") as file:
        file.write('{"row": 5, "te')  # cut short by an earlier kill
    died = subprocess.run(
        [sys.executable, "-c", DIE, str(out)],
        env={**os.environ, "PYTHONPATH": str(Path(row_journal.__file__).parents[2])},
    )
    assert died.returncode == -signal.SIGKILL
    journal = RowJournal(out, IDENTITY)
    assert journal.rows == rows
    journal.delete()
    assert not list(tmp_path.iterdir())
