"""Build the virtual environments of envs/*.yaml under .venvs, for machines without conda.

usage: python3.11 envs/make_environments.py [CONFIG.yaml | NAME ...]

With a configuration, this builds the environments that its study uses; without arguments, those of
mini.yaml. The YAML files define conda environments. Only those whose conda part is python and pip
can be built here. envs/locks/NAME.txt, if it exists, pins every package of an environment for Linux
on x86-64 (envs/lock_environments.py).

Needs Python 3.11 with pip, which installs uv and PyYAML into .venvs/.tools. uv installs the rest,
as hard links from one cache. An environment counts as built when its `.built-from` file, written
last, holds the SHA-256 of its description; anything else is rebuilt from scratch.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ENVS = Path(__file__).resolve().parent
VENVS = ENVS.parent / ".venvs"
sys.path.insert(0, str(ENVS.parent))

from crosslens.workflow.environments import digest, environments  # noqa: E402

STAMP = ".built-from"
PYTHON = (3, 11)
AT_ONCE = 2
CACHE = Path(os.environ.get("UV_CACHE_DIR", VENVS / ".cache"))  # beside them: hard links
SETTINGS = os.environ | {
    "UV_CACHE_DIR": str(CACHE),
    "UV_NO_PROGRESS": "1",
    "UV_HTTP_TIMEOUT": "180",
}
TOOLS = ("uv==0.13.9", "PyYAML==6.0.3")
CPU_TORCH = re.compile(r"^(torch==[\d.]+)\+cpu$", re.MULTILINE)

# Run in a new environment: imports the packages that its YAML file names. What does not import is
# reported now; what does is compiled to bytecode, which other environments need not wait for.
IMPORT = """
import importlib, importlib.metadata as metadata, sys
sys.dont_write_bytecode = False
modules = metadata.packages_distributions()
wanted = {name.lower().replace("-", "_") for name in sys.argv[1:]}
for module, names in sorted(modules.items()):
    if module.isidentifier() and wanted & {name.lower().replace("-", "_") for name in names}:
        try:
            importlib.import_module(module)
        except Exception as error:
            sys.exit(f"{module} does not import: {type(error).__name__}: {error}")
"""


class Failure(Exception):
    """An error to report as one line."""


class Environment(NamedTuple):
    """One YAML file, its lock, and where its virtual environment goes."""

    name: str
    requirements: list[str]
    lock: Path | None
    stamp: str
    path: Path

    @property
    def current(self) -> bool:
        """Whether the environment was completely built from its description as it is now."""
        stamp = self.path / STAMP
        return stamp.is_file() and stamp.read_text() == self.stamp


def read(file: Path, venvs: Path) -> Environment:
    """Return the environment that a conda YAML file describes.

    Raises Failure when the file is missing, needs conda or has another form.
    """
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.yaml")))
        raise Failure(f"environment {file.stem}: unknown. Choose from {known}.")
    conda, pip = dependencies(file)
    check_conda_part(file, conda)
    lock = file.parent / "locks" / f"{file.stem}.txt"
    usable = lock.is_file() and (sys.platform, platform.machine()) == ("linux", "x86_64")
    stamp = digest(file.stem, file.parent)
    return Environment(file.stem, pip, lock if usable else None, stamp, venvs / file.stem)


def dependencies(file: Path) -> tuple[list[str], list[str]]:
    """Return the conda packages and the pip requirements of an environment's file."""
    import yaml  # of .venvs/.tools

    try:
        *conda, last = yaml.safe_load(file.read_text())["dependencies"]
        return conda, last["pip"]
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise Failure(
            f"{file.name}: the dependencies do not end with `pip:` and a list. Add it."
        ) from error


def check_conda_part(file: Path, conda: list[str]) -> None:
    """Raise Failure unless the conda part is Python 3.11 and pip, which need no conda."""
    for package in conda:
        name, _, version = str(package).partition("=")
        if name == "python" and version.strip("=") != "{}.{}".format(*PYTHON):
            raise Failure(f"{file.name}: {package} is not supported. Request Python 3.11.")
        if name not in ("python", "pip"):
            raise Failure(
                f"{file.name}: {package} is a conda package. Use `snakemake --sdm conda`."
            )


def build(environment: Environment, uv: Path) -> str:
    """Build an environment if it is not current; return a line that says so."""
    name, path = environment.name, environment.path
    if environment.current:
        return f"environment {name}: up to date"
    print(f"environment {name}: installing ...", flush=True)
    started = time.monotonic()
    path.parent.mkdir(parents=True, exist_ok=True)
    (path / STAMP).unlink(missing_ok=True)
    run(name, uv, "venv", "--quiet", "--clear", "--seed", "--python", sys.executable, path)
    install(environment, uv)
    named = [re.split(r"[\[=]", requirement)[0] for requirement in environment.requirements]
    run(name, path / "bin" / "python", "-c", IMPORT, *named)
    partial = path / f"{STAMP}.tmp"
    partial.write_text(environment.stamp)
    partial.replace(path / STAMP)
    return f"environment {name}: ready in {time.monotonic() - started:.0f} s"


def install(environment: Environment, uv: Path) -> None:
    """Install what the lock lists, or the YAML file if there is no lock for this machine."""
    name, lock = environment.name, environment.lock
    command = [uv, "pip", "install", "--quiet", "--python", environment.path / "bin" / "python"]
    if lock is None:
        settings = pip_settings("index-url", "find-links")
        return run(name, *command, *settings, *environment.requirements)
    locked = ["--no-deps", "--requirements", lock]
    if not CPU_TORCH.search(lock.read_text()):
        return run(name, *command, *pip_settings("index-url"), *locked)
    for options in cpu_sources():
        try:
            return run(name, *command, *options, *locked)
        except Failure as failure:
            if "torch" not in str(failure):
                raise
    return install_with_cuda_torch(environment, command)


def cpu_sources() -> list[list[str]]:
    """Return uv's options for where CPU builds are: pip's directories and PyTorch's index."""
    pip = pip_settings("index-url", "find-links")
    return [pip, [*pip, "--torch-backend", "cpu"]]


def install_with_cuda_torch(environment: Environment, command: list[str | Path]) -> None:
    """Install a lock with the package index's torch and its CUDA libraries, several GB."""
    name, options, pins = environment.name, pip_settings("index-url"), environment.lock.read_text()
    torch = CPU_TORCH.search(pins)[1]
    print(
        f"environment {name}: no CPU build of {torch} within reach, installing CUDA's", flush=True
    )
    run(name, *command, *options, torch)
    rest = environment.path / "lock.txt"
    rest.write_text(CPU_TORCH.sub("", pins))
    run(name, *command, *options, "--no-deps", "--requirements", rest)


def pip_settings(*keys: str) -> list[str]:
    """Return this machine's settings of pip as options of uv, which does not read them."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.findall(r"^[^=\s]*\.([\w-]+)='(.*)'$", listed, re.MULTILINE)
    options = {"index-url": "--default-index", "find-links": "--find-links"}
    values = {key: value for key, value in found if key in keys}  # the last one has precedence
    return [word for key in values for one in values[key].split() for word in (options[key], one)]


def run(name: str, *command: str | Path) -> None:
    """Run a command for an environment. Raises Failure with its last lines if it fails."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, env=SETTINGS
    )
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        what = Path(command[0]).name
        raise Failure(f"environment {name}: {what} failed:\n  " + "\n  ".join(said[-5:]))


def make_tools(venvs: Path) -> Path:
    """Return the Python of .venvs/.tools, with uv and PyYAML; pip installs them the first time."""
    path, wanted = venvs / ".tools", "\n".join(TOOLS)
    stamp, python = path / STAMP, path / "bin" / "python"
    if not (stamp.is_file() and stamp.read_text() == wanted):
        run("tools", sys.executable, "-m", "venv", "--clear", path)
        run("tools", python, "-m", "pip", "install", "--quiet", "--no-input", *TOOLS)
        stamp.write_text(wanted)
    return python


def chosen(arguments: list[str]) -> list[str]:
    """Return the environments to build: the named ones, or those of a configuration's study."""
    if arguments and not arguments[0].endswith((".yaml", ".yml")):
        return arguments
    import yaml

    file = Path(arguments[0]) if arguments else ENVS.parent / "mini.yaml"
    return ["workflow", *sorted(set(environments(yaml.safe_load(file.read_text())).values()))]


def main(names: list[str], uv: Path, envs: Path = ENVS, venvs: Path = VENVS) -> int:
    """Build the named environments, two at a time; return 1 if any could not be built, else 0."""
    status = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [
            pool.submit(lambda n=name: build(read(envs / f"{n}.yaml", venvs), uv)) for name in names
        ]
        for job in jobs:
            try:
                print(job.result(), flush=True)
            except Failure as failure:
                print(f"Error: {failure}", file=sys.stderr, flush=True)
                status = 1
    for index in CACHE.glob("simple-*"):
        shutil.rmtree(index)  # what the package index answered is of no use in the next build
    return status


def start(arguments: list[str]) -> int:
    """Continue in the Python that has uv and PyYAML, then build; return the exit status."""
    if sys.version_info[:2] != PYTHON:
        have = "{}.{}".format(*sys.version_info[:2])
        message = (
            f"Error: the environments need Python 3.11, {sys.executable} is {have}: "
            "run `make PYTHON=/path/to/python3.11 environments`"
        )
        print(message, file=sys.stderr)
        return 1
    try:
        python = make_tools(VENVS)
    except Failure as failure:
        print(f"Error: {failure}", file=sys.stderr)
        return 1
    if Path(sys.prefix) != VENVS / ".tools":
        os.execv(python, [str(python), "-B", __file__, *arguments])
    return main(chosen(arguments), python.parent / "uv")


if __name__ == "__main__":
    sys.exit(start(sys.argv[1:]))
