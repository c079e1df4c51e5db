"""Run a job's script: log, GPUs, and one-line errors on the terminal instead of tracebacks."""

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from crosslens.io.errors import InputError
from crosslens.workflow import processes

FULL = {errno.ENOSPC, errno.EDQUOT}
FULL_WORDS = ("No space left on device", "Disk quota exceeded")  # of libraries that lose the number

# How libraries name a file.
NAMED = re.compile(
    r"(?:name = '|local file '|Permission denied: '|such file or directory: )([^'\n]+)"
)


@contextmanager
def one_line(log: str | Path) -> Iterator[None]:
    """Run a script's main with stdout and stderr going to `log`; an InputError becomes one line,
    and so do a full disk and a file that may not be read or written.

    The line is printed on the terminal as well, so that it is seen without opening the log. File
    descriptors are redirected, not only `sys.stdout`: engines run as subprocesses are logged too.
    SIGTERM, and the end of the workflow, end the script in order.
    """
    terminal = os.dup(2)
    processes.exit_on_sigterm()
    processes.end_with_workflow()
    try:
        redirect(Path(log))
        yield
    except Exception as error:
        if (words := in_words(error)) is None:
            raise
        for descriptor in (2, terminal):
            with suppress(OSError):  # a full disk takes no line
                os.write(descriptor, f"Error: {words}\n".encode())
        sys.exit(1)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()


def redirect(log: Path) -> None:
    """Let stdout and stderr go to a new file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
    sys.stdout.reconfigure(line_buffering=True)


def in_words(error: Exception) -> str | None:
    """One line for a fault that is not the program's; None for any other."""
    text = str(error)
    if file := refused(error) or refused(error.__cause__):
        return f"{file}: no permission to read or write it: correct it and run again"
    if isinstance(error, InputError):
        return text
    if getattr(error, "errno", None) in FULL or any(words in text for words in FULL_WORDS):
        return "no space left on the disk: free some and run again; what is finished is kept"
    return None


def refused(error: BaseException | None) -> str | None:
    """The file that an error says may not be read or written; None where that is not its reason.

    h5py, pyarrow and shutil.copytree name it in their text only, and safetensors says of a file
    that it may not open that there is none.
    """
    if not isinstance(error, OSError):
        return None
    named = error.filename or next((name for name in NAMED.findall(str(error))), None)
    if isinstance(error, PermissionError) or "Permission denied" in str(error):
        return named or "a file"
    hidden = named and Path(named).exists() and not os.access(named, os.R_OK)
    return named if hidden else None
