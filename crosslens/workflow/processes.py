"""End processes together: a job with its workflow, a training backend with its job.

    python -m crosslens.workflow.processes COMMAND ...

runs a command. When the command, or the process that started this one, has ended for any reason, it
ends every process that the command has left behind. (With Linux's prctl, a parent's death sends a
signal, and this process adopts orphans.) A job without its workflow would write the same files as a
new run.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
PIDFD_OPEN = 434  # a system call; conda's Python has no os.pidfd_open, nor has Linux before 5.3
GRACE = 10.0  # seconds between asking a process to end and ending it
PAUSE = 1.0  # seconds between two looks at processes, on a kernel that cannot tell when they end
WORKFLOW = "CROSSLENS_WORKFLOW"  # rules/common.smk puts the number of its process there
ENDED = "Stopped: the workflow that started this job has ended."


def signal_at_parents_death(number: int = signal.SIGKILL) -> None:
    """Let the kernel send this process a signal when its parent ends; a child calls it first."""
    LIBC.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


def exit_on_sigterm() -> None:
    """Let SIGTERM unwind the main thread, so that temporary files and backends are cleaned up."""
    with suppress(ValueError):  # not in the main thread: nothing to unwind
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def end_with_workflow() -> None:
    """End this process soon after the workflow that started it, or a shell between, has ended.

    The workflow is the ancestor whose process id is in the environment, if there is one.
    """
    if (number := os.environ.get(WORKFLOW)) is None:
        return
    between = ancestors(os.getppid(), int(number))
    if int(number) not in between:
        sys.exit(ENDED)
    threading.Thread(target=wait_and_end, args=(between,), daemon=True).start()


def wait_and_end(pids: list[int]) -> None:
    """Wait until one of some processes has ended, then end this one."""
    wait_for_one(pids)
    with suppress(OSError):  # the log may be gone with the workflow
        os.write(2, f"{ENDED}\n".encode())
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(2 * GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_one(pids: list[int]) -> None:
    """Wait until one of the processes has ended; poll if the kernel lacks pidfds."""
    descriptors = [LIBC.syscall(PIDFD_OPEN, pid, 0) for pid in pids]
    if min(descriptors) >= 0:
        select.select(descriptors, [], [])
        return
    started = [start_time(pid) for pid in pids]
    while None not in started and started == [start_time(pid) for pid in pids]:
        time.sleep(PAUSE)


def start_time(pid: int) -> str | None:
    """Return a process's start time, or None if it has ended.

    The time tells it from a later process with the same number.
    """
    with suppress(OSError):
        fields = stat(pid)
        return fields[19] if fields[0] != "Z" else None
    return None


def ancestors(pid: int, last: int) -> list[int]:
    """Return a process and its ancestors, up to `last` if it is among them."""
    pids = []
    while pid > 1 and last not in pids:
        pids.append(pid)
        pid = parent(pid)
    return pids


def parent(pid: int) -> int:
    """Return the parent of a process."""
    return int(stat(pid)[1])


def stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat after the name, from the state on (proc(5))."""
    return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes below one, children before grandchildren."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            children.setdefault(parent(int(entry.name)), []).append(int(entry.name))
    waiting = [pid]
    for one in waiting:
        waiting += children.get(one, [])
    yield from waiting[1:]


def end(processes: Callable[[], list[int]]) -> None:
    """Ask processes to end, kill them after `GRACE` seconds, and repeat until none is left."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + GRACE
        while (left := processes()) and time.monotonic() < until:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            reap()
            time.sleep(0.05)


def reap() -> None:
    """Collect the exit status of ended children, so that no zombies remain."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def supervise(command: Sequence[str]) -> int:
    """Run a command, end what it leaves when it or our parent ends; return its exit status."""
    starter = os.getppid()
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    exit_on_sigterm()
    signal_at_parents_death(signal.SIGTERM)
    if os.getppid() != starter:  # it ended before the line above
        return 128 + signal.SIGTERM
    try:
        child = subprocess.Popen(command, close_fds=False, preexec_fn=signal_at_parents_death)
        status = child.wait()
        return status if status >= 0 else 128 - status
    finally:
        end(lambda: list(descendants(os.getpid())))


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[1:]))
