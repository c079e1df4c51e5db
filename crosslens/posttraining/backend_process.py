"""Run training backends as subprocesses: output goes to the log, a failure is a one-line error."""

import importlib.machinery
import os
import re
import subprocess
import sys
import types
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crosslens.io.errors import InputError
from crosslens.workflow import gpu_locks

ROOT = str(Path(__file__).resolve().parents[2])
LINES = 2000  # of the output that are searched for a reason; eight tracebacks are below 600


def run_backend(
    what: str,
    command: Sequence[str],
    environment: Mapping[str, str | Path | None] | None = None,
    after_line: Callable[[], object] = lambda: None,
) -> None:
    """Run a command, pass on its output line by line, and call `after_line` after each line.

    `environment` is added to this process's own; None unsets a variable. When the command or this
    process ends, all processes that it started end too. It inherits the locks on the job's GPUs,
    which stay taken until it has ended. If it fails, raises InputError with its own `Error: ...`
    line, or with its last exception or line.
    """
    last: deque[str] = deque(maxlen=LINES)
    path = os.pathsep.join([ROOT, *filter(None, [os.environ.get("PYTHONPATH")])])
    variables = {**os.environ, "PYTHONPATH": path, **(environment or {})}
    with subprocess.Popen(
        [sys.executable, "-m", "crosslens.workflow.processes", *command],
        env={name: str(value) for name, value in variables.items() if value is not None},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=gpu_locks.locks,
    ) as process:
        try:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                if line.strip():
                    last.append(line.strip())
                after_line()
        except BaseException:  # such as SIGTERM while the backend runs
            process.terminate()
            raise
    if process.returncode:
        raise InputError(
            f"{what} failed (exit status {process.returncode}): {failure_reason(last)}"
        )


def job_threads() -> str:
    """Return OMP_NUM_THREADS, which Snakemake sets to the threads of the job; 1 if it is unset."""
    return os.environ.get("OMP_NUM_THREADS", "1")


def job_cores() -> int:
    """Return the cores that this job may use, which on a cluster are fewer than the node's."""
    given = len(os.sched_getaffinity(0))
    return min(given, int(os.environ.get("SLURM_CPUS_ON_NODE", given)))


def failure_reason(last: Sequence[str]) -> str:
    """Return why a command failed, from its last lines."""
    errors = [line.removeprefix("Error: ") for line in last if line.startswith("Error: ")]
    lines = first_failed_process(last)
    exceptions = [line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)]
    return [*lines, *exceptions, *errors][-1] if last else "no output"


def first_failed_process(lines: Sequence[str]) -> Sequence[str]:
    """Return the lines of the process that failed first, or all lines if there was one process.

    With several processes, PyTorch marks the lines of a traceback with the rank. torchrun ends with
    a list of failures. The last one is the first observed; it names the signal, if there was one.
    """
    ranks = [match[1] for line in lines if (match := re.match(r"rank +: (\d+)", line))]
    if not ranks:
        return lines
    mark = f"[rank{ranks[-1]}]: "
    own = [line.removeprefix(mark).strip() for line in lines if line.startswith(mark)]
    ends = [line.partition(" : ")[2] for line in lines if line.startswith("traceback : Signal")]
    return own or ends or lines


def hide_media_packages() -> None:
    """Prevent the import of torchvision and torchaudio; call it before importing transformers.

    LLaMA-Factory requires both, but training on text uses neither. Their builds fail on import when
    they do not match the build of torch, such as CUDA builds with a CPU-only torch. torchvision
    then counts as not installed, which transformers and TRL support. torchaudio, which
    LLaMA-Factory imports unconditionally, becomes an empty module.
    """
    modules: dict[str, Any] = sys.modules  # None: cannot be imported
    modules.setdefault("torchvision", None)
    if "torchaudio" not in sys.modules:
        empty = types.ModuleType("torchaudio", "Hidden by crosslens: see hide_media_packages.")
        empty.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
        sys.modules["torchaudio"] = empty
