"""Run a script as a job: its log, its GPUs, typed arguments, and errors as one line.

A script ends with

    if __name__ == "__main__":
        run_job(main, snakemake, scores=snakemake.input.scores, out=snakemake.output[0])

and its `main(*, ...)` can be imported and called without Snakemake.
"""

import errno
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from crosslens.config.sections import Section
from crosslens.io.errors import InputError, lock_refusal
from crosslens.workflow import processes
from crosslens.workflow.gpu_locks import acquire_gpus, check_pytorch

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
# Some libraries lose the error number and keep the text.
DISK_FULL_TEXTS = ("No space left on device", "Disk quota exceeded")

# How libraries name a file in their messages.
FILE_IN_TEXT = re.compile(
    r"(?:name = '|local file '|Permission denied: '|such file or directory: )([^'\n]+)"
)


def run_job(main: Callable[..., None], snakemake: Any, **arguments: Any) -> None:
    """Call a script's `main` as the job that `snakemake` describes.

    The rule's log receives stdout and stderr. The process holds as many GPUs as the rule's `gpu`
    resource; without that resource it sees none. Each argument is converted to the type that `main`
    declares, as Snakemake gives paths and wildcards as str. Raises InputError if the environment's
    PyTorch does not find the GPUs, whether the script or its engine is to use them.
    """
    types = get_type_hints(main)
    gpus = snakemake.resources.get("gpu", 0)
    with job_context(snakemake.log[0]), acquire_gpus(gpus):
        check_pytorch(gpus)
        main(**{name: convert(value, types[name]) for name, value in arguments.items()})


def convert(value: Any, kind: Any) -> Any:
    """Convert a value from Snakemake to the type that an annotation names.

    str becomes Path, int or float, also in lists, tuples and dictionaries. Named files become a
    dictionary, and a section of the configuration becomes an object of its class. An empty list of
    files becomes None if the annotation allows None.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if kind in (Path, int, float):
        return kind(value) if isinstance(value, str) else value
    if isinstance(kind, type) and issubclass(kind, Section):
        return kind.model_validate(value)
    if origin is list:
        items = [value] if isinstance(value, str) else value
        return [convert(item, parts[0]) for item in items]
    if origin is tuple:
        return tuple(convert(item, part) for item, part in zip(value, parts, strict=True))
    if origin is dict:
        return {name: convert(item, parts[1]) for name, item in value.items()}
    if origin is UnionType and NoneType in parts:
        given = value is not None and value != []
        return convert(value, parts[0]) if given else None
    return value


@contextmanager
def job_context(log: str | Path) -> Iterator[None]:
    """Send stdout and stderr to `log`, and report a user's error as one line.

    A user's error is an InputError, a full disk, or a file without permission or locks. Its line
    goes to the log and to the terminal; any other exception keeps its traceback. File descriptors
    are redirected, not only `sys.stdout`, so that the log has the output of subprocesses too.
    SIGTERM and the end of the workflow end the process in order.
    """
    terminal = os.dup(2)
    processes.exit_on_sigterm()
    processes.end_with_workflow()
    try:
        redirect_output(Path(log))
        yield
    except Exception as error:
        if (line := user_error(error)) is None:
            raise
        for descriptor in (2, terminal):
            with suppress(OSError):  # a full disk takes no line
                os.write(descriptor, f"Error: {line}\n".encode())
        sys.exit(1)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()


def redirect_output(log: Path) -> None:
    """Send stdout and stderr of this process and of its children to a new file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


def user_error(error: Exception) -> str | None:
    """Return one line for an error that the user can correct; None for any other error."""
    text = str(error)
    if file := forbidden_file(error) or forbidden_file(error.__cause__):
        return f"{file}: no permission to read or write it. Correct its permissions and run again."
    if isinstance(error, InputError):
        return text
    if getattr(error, "errno", None) in DISK_FULL or any(t in text for t in DISK_FULL_TEXTS):
        return "disk: no space left. Free some space and run again; finished results are kept."
    if refusal := lock_refusal(error):
        return f"file locks: {refusal}"
    return None


def forbidden_file(error: BaseException | None) -> str | None:
    """Return the file that the process may not read or write; None for any other error.

    h5py, pyarrow and shutil.copytree name the file only in the text of the error; safetensors
    reports a file without permission as missing.
    """
    if not isinstance(error, OSError):
        return None
    file = error.filename or next(iter(FILE_IN_TEXT.findall(str(error))), None)
    if isinstance(error, PermissionError) or "Permission denied" in str(error):
        return file or "a file"
    unreadable = file and Path(file).exists() and not os.access(file, os.R_OK)
    return file if unreadable else None
