"""Bad input ends in one clear line, on the terminal and in the log, never in a traceback."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Something the user gave is wrong: the message names the key, file or value and what to do."""


@contextmanager
def one_line(log: str | Path) -> Iterator[None]:
    """Run a script's main with stdout and stderr going to `log`; an InputError becomes one line.

    The line is printed on the terminal as well, so that it is seen without opening the log. File
    descriptors are redirected, not only `sys.stdout`: engines run as subprocesses are logged too.
    """
    terminal = os.dup(2)
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with Path(log).open("w", buffering=1) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        except InputError as error:
            line = f"Error: {error}\n"
            os.write(2, line.encode())
            os.write(terminal, line.encode())
            sys.exit(1)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
