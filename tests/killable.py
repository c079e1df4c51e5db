"""A training that a test kills: a process group of its own, and all that it has started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

LONGEST = 1800  # seconds of a run
MARK = "CROSSLENS_TEST_ATTEMPT"


class Killable:
    """A Python program in a process group of its own, its words in a file."""

    def __init__(self, log: Path, program: str, *arguments: object) -> None:
        self.log, self.name = log, f"{MARK}={log}"
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(
                [sys.executable, program, *map(str, arguments)],
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), MARK: str(log)},
                start_new_session=True,
            )

    def wait_until(self, condition: Callable[[], bool], every: float = 0.02) -> None:
        """Wait until a condition holds; it is looked at after each `every` seconds."""
        while not condition():
            assert self.process.poll() is None, self.output()
            time.sleep(every)

    def kill(self, seconds: float = 30) -> None:
        """Send SIGKILL to the group; the backend's processes must then end in some seconds."""
        with suppress(ProcessLookupError):  # it has ended
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        until = time.monotonic() + seconds
        while list(self.left()) and time.monotonic() < until:
            time.sleep(0.1)
        assert not list(self.left())

    def left(self) -> Iterator[str]:
        """Yield the living processes of this run, whoever their parent is."""
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self.name.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    yield (entry / "comm").read_text()

    def finish(self) -> None:
        assert self.process.wait(timeout=LONGEST) == 0, self.output()

    def output(self) -> str:
        return self.log.read_text()[-5000:]
