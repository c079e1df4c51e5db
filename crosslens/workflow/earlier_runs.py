"""Wait for jobs on this machine that a previous run left behind."""

import re
import time
from contextlib import suppress
from pathlib import Path

from crosslens.io.errors import InputError
from crosslens.workflow.processes import GRACE, WORKFLOW

MARK = re.compile(rb"(?:^|\0)%b=(\d+)" % WORKFLOW.encode())


def wait_for_earlier(folder: Path, patience: float = 4 * GRACE) -> None:
    """Wait until the jobs of a killed workflow in the same folder have ended, too.

    They end by themselves (`processes.end_with_workflow`), but not at once. Until then they may
    write files that a new run also writes. Raises InputError when one does not end.
    """
    until = time.monotonic() + patience
    while (left := earlier_jobs(folder)) and time.monotonic() < until:
        time.sleep(0.1)
    if left:
        raise InputError(
            f"{folder}: jobs of a previous run have not ended (processes "
            f"{', '.join(map(str, left))}). End these processes, then start again."
        )


def earlier_jobs(folder: Path) -> list[int]:
    """Return the processes that work in a folder for a workflow that has ended."""
    pids = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended, or is another user's
            mark = MARK.search((entry / "environ").read_bytes())
            if (
                mark
                and (entry / "cwd").resolve() == folder.resolve()
                and not is_running(int(mark[1]))
            ):
                pids.append(int(entry.name))
    return pids


def is_running(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    with suppress(OSError):
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
