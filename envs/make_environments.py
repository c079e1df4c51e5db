"""Build one virtual environment per envs/*.yaml under .venvs, for machines without conda.

usage: python3.11 envs/make_environments.py [NAME ...]      (no name: all)

The YAML files are conda environments, the one source of truth; only those whose conda part is
python and pip can be built here. Needs nothing but Python 3.11 with pip: it runs before any
environment exists. An environment counts as built when its `.built-from` file, written last,
holds the SHA-256 of its YAML file; anything else is rebuilt from scratch.
"""

import hashlib
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ENVS = Path(__file__).resolve().parent
STAMP = ".built-from"
PYTHON = (3, 11)
AT_ONCE = 2


class Failure(Exception):
    """Something the user must know, in one line."""


class Environment(NamedTuple):
    """One YAML file and where its virtual environment goes."""

    name: str
    requirements: list[str]
    stamp: str
    path: Path

    @property
    def current(self) -> bool:
        """Whether the environment was built, to its end, from the YAML file as it is now."""
        stamp = self.path / STAMP
        return stamp.is_file() and stamp.read_text() == self.stamp


def read(file: Path, venvs: Path) -> Environment:
    """The environment that a conda YAML file describes.

    Raises Failure when the file is missing or needs conda.
    """
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.yaml")))
        raise Failure(f"no environment {file.stem}: there are {known}")
    conda, pip = dependencies(file)
    check_conda_part(file, conda)
    stamp = hashlib.sha256(file.read_bytes()).hexdigest()
    return Environment(file.stem, pip, stamp, venvs / file.stem)


def dependencies(file: Path) -> tuple[list[str], list[str]]:
    """The items under `dependencies:` and those under its `pip:`.

    Reads the plain form conda environments are written in (PyYAML is not there yet) and refuses
    any other line rather than skipping it.
    """
    conda: list[str] = []
    pip: list[str] = []
    section, items = "", conda
    for number, line in enumerate(file.read_text().splitlines(), 1):
        text = re.sub(r"(^|\s)#.*", "", line).rstrip()
        item = re.fullmatch(r"\s+- +(\S+)", text)
        if key := re.fullmatch(r"(name|channels|dependencies):.*", text):
            section, items = key[1], conda
        elif section == "dependencies" and item:
            if item[1] == "pip:":
                items = pip
            else:
                items.append(item[1].strip("\"'"))
        elif text and not (section == "channels" and item):
            raise Failure(f"{file.name}, line {number}: cannot read `{text.strip()}`")
    return conda, pip


def check_conda_part(file: Path, conda: list[str]) -> None:
    """Only Python itself and pip can be had without conda."""
    for package in conda:
        name, _, version = package.partition("=")
        if name == "python" and version.strip("=") != "{}.{}".format(*PYTHON):
            raise Failure(f"{file.name} asks for {package}: only Python 3.11 is supported")
        if name not in ("python", "pip"):
            raise Failure(f"{file.name}: {package} is a conda package: use `snakemake --sdm conda`")


def build(environment: Environment) -> str:
    """Build one environment if it is not current, and say so in one line."""
    if environment.current:
        return f"environment {environment.name}: up to date"
    print(
        f"environment {environment.name}: installing {len(environment.requirements)} packages "
        "and what they need ...",
        flush=True,
    )
    started = time.monotonic()
    path = environment.path
    path.parent.mkdir(parents=True, exist_ok=True)
    (path / STAMP).unlink(missing_ok=True)
    call(environment.name, sys.executable, "-m", "venv", "--clear", str(path))
    pip = [str(path / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input"]
    if environment.requirements:
        call(environment.name, *pip, *environment.requirements)
    partial = path / f"{STAMP}.tmp"
    partial.write_text(environment.stamp)
    partial.replace(path / STAMP)
    return f"environment {environment.name}: ready in {time.monotonic() - started:.0f} s"


def call(name: str, *command: str) -> None:
    """Run a command; when it fails, its last words become the message."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = [
            line
            for line in (done.stdout + done.stderr).splitlines()
            if line.strip() and not line.startswith(("WARNING", "[notice]"))
        ]
        what = "pip" if "pip" in command else "venv"
        raise Failure(f"environment {name}: {what} failed:\n  " + "\n  ".join(words[-5:]))


def main(names: list[str], envs: Path = ENVS, venvs: Path = ENVS.parent / ".venvs") -> int:
    """Build the named environments, two at a time; exit status 1 if any could not be built."""
    if sys.version_info[:2] != PYTHON:
        have = "{}.{}".format(*sys.version_info[:2])
        print(
            f"Error: the environments need Python 3.11, {sys.executable} is {have}: "
            "run `make PYTHON=/path/to/python3.11 environments`",
            file=sys.stderr,
        )
        return 1
    names = names or sorted(file.stem for file in envs.glob("*.yaml"))
    status = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [
            pool.submit(lambda n=name: build(read(envs / f"{n}.yaml", venvs))) for name in names
        ]
        for job in jobs:
            try:
                print(job.result(), flush=True)
            except Failure as failure:
                print(f"Error: {failure}", file=sys.stderr, flush=True)
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
