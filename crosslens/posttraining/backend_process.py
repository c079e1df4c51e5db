"""Training engines run as subprocesses: their words go to the log, their failure is one line."""

import importlib.machinery
import os
import re
import subprocess
import sys
import types
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from crosslens.io.errors import InputError
from crosslens.workflow import gpu_locks

ROOT = str(Path(__file__).resolve().parents[2])


def run(
    what: str,
    command: Sequence[str],
    environment: Mapping[str, str | Path | None] | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> None:
    """Run a command, passing on its output line by line and calling `meanwhile` after each.

    `environment` is added to this process's own; None unsets a variable. When the command ends, or
    this process does, so do all processes that it started. It inherits the locks on the job's GPUs:
    they stay taken until it is gone too. Raises InputError with the command's own `Error: ...`
    line, or its last exception or line, if it fails.
    """
    last: deque[str] = deque(maxlen=200)
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
            for line in process.stdout:
                print(line, end="", flush=True)
                if line.strip():
                    last.append(line.strip())
                meanwhile()
        except BaseException:  # this process is told to end while the engine runs
            process.terminate()
            raise
    if process.returncode:
        raise InputError(f"{what} failed (exit status {process.returncode}): {reason(last)}")


def reason(last: Sequence[str]) -> str:
    """Why a command failed, from its last lines."""
    named = [line.removeprefix("Error: ") for line in last if line.startswith("Error: ")]
    raised = [line for line in last if re.match(r"[\w.]*(Error|Exception): ", line)]
    return [*last, *raised, *named][-1] if last else "it said nothing"


def hide_media_packages() -> None:
    """Keep torchvision and torchaudio from being imported: call before transformers or an engine.

    LLaMA-Factory requires both, but training on text uses neither, and their builds break on
    import wherever they do not match the build of torch (CUDA builds on a CPU-only torch, above
    all). To Python torchvision then is not installed, which transformers and TRL allow for;
    torchaudio, which LLaMA-Factory imports unconditionally, is an empty module.
    """
    sys.modules.setdefault("torchvision", None)
    if "torchaudio" not in sys.modules:
        empty = types.ModuleType("torchaudio", "Hidden by crosslens: see hide_media_packages.")
        empty.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
        sys.modules["torchaudio"] = empty
