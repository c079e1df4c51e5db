"""Run the parts of one section, and write a line of JSON for each to a file as it begins and ends.

usage: python -m benchmarks.gpu.section MODULE DEVICE SIZE FILE

DEVICE is cpu or cuda, SIZE small or full. A part that fails does not stop the next one. Only the
standard library is imported here, so that a missing package is reported rather than fatal.
"""

import json
import sys
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from benchmarks.gpu.report import BEGUN, FAILED, NOT_RUN, OK

OWN = ("benchmarks", "crosslens")  # packages of this repository: they are never missing
LONGEST = 240  # characters of an error in the table; the log has all of it


class Machine(NamedTuple):
    """Where a section runs, and at which size."""

    device: str  # cpu or cuda
    full: bool


class Result(NamedTuple):
    """What a part found: a phrase for the table, and its measurements by name."""

    text: str
    numbers: dict[str, float] = {}


class Part(NamedTuple):
    """One check of a section. `run` raises an exception where it fails."""

    name: str
    run: Callable[[], Result]
    packages: tuple[str, ...] = ()  # that `run` cannot do without
    cuda: bool = False  # whether it needs a GPU


def require(holds: bool, problem: str) -> None:
    """Raise AssertionError with the problem unless something holds."""
    if not holds:
        raise AssertionError(problem)


def missing(packages: tuple[str, ...]) -> str | None:
    """Return the first package that is not installed."""
    return next((name for name in packages if find_spec(name) is None), None)


def outcome_of(part: Part, machine: Machine) -> tuple[str, Result]:
    """Run a part; return its outcome and result, an error's or a missing package's included."""
    if part.cuda and machine.device != "cuda":
        return NOT_RUN, Result("needs a GPU")
    if name := missing(part.packages):
        return NOT_RUN, Result(f"package {name} is missing")
    try:
        return OK, part.run()
    except Exception as error:
        return failure(error)


def failure(error: Exception) -> tuple[str, Result]:
    """Return the outcome of an exception, and print its traceback to the log."""
    traceback.print_exception(error)
    package = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and package not in OWN:
        return NOT_RUN, Result(f"package {package} is missing")
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return FAILED, Result(text[:LONGEST])


def write(file: Path, part: str, outcome: str, result: Result, seconds: float = 0.0) -> None:
    """Append a line of JSON."""
    line = {"part": part, "outcome": outcome, "result": result.text, "seconds": seconds}
    with file.open("a") as stream:
        stream.write(json.dumps(line | {"numbers": result.numbers}) + "\n")


def main(module: str, machine: Machine, file: Path) -> None:
    """Run all parts of a section."""
    try:
        write(file, "start", BEGUN, Result(""))
        parts = import_module(module).parts(machine)
    except Exception as error:
        write(file, "all", *failure(error))
        return
    for part in parts:
        print(f"--- {part.name}", flush=True)
        write(file, part.name, BEGUN, Result(""))
        started = time.perf_counter()
        outcome, result = outcome_of(part, machine)
        write(file, part.name, outcome, result, time.perf_counter() - started)


if __name__ == "__main__":
    main(sys.argv[1], Machine(sys.argv[2], sys.argv[3] == "full"), Path(sys.argv[4]))
