"""`pip install .` gives the whole library, and its dependencies are what the public API imports.

The installation has no network: what it depends on is found in the environment of the tests.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = ("pyproject.toml", "README.md", "LICENSE")  # that an installation reads, and the library
NO_CACHES = shutil.ignore_patterns("__pycache__")
FILES_OF_THE_API = """\
import sys
from crosslens import *

print(*(module.__file__ for name, module in sys.modules.items() if name.startswith("crosslens.")))
"""
USES_EVERY_NAME = """\
import crosslens
from crosslens import *
from crosslens.posttraining.grpo import overrides

print(crosslens.__file__)
assert all(file.is_file() for file in (overrides.REWARD, overrides.ROUTER, overrides.AGENT_LOOP))
try:
    FinishedStudy("nowhere")
except InputError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that is not the checkout, with an environment that has the library only.

    A .pth file lets it find the packages of the tests' environment. pip accepts them as
    dependencies only in the versions that pyproject.toml allows.
    """
    folder = tmp_path_factory.mktemp("outside")
    shutil.copytree(ROOT / "crosslens", folder / "copy" / "crosslens", ignore=NO_CACHES)
    for name in FILES:
        shutil.copy(ROOT / name, folder / "copy" / name)
    command = [sys.executable, "-m", "venv", "--without-pip", folder / "venv"]
    subprocess.run(command, check=True)
    (packages(folder) / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    offline = ("--no-index", "--no-build-isolation", "--quiet")
    installed = python(folder, "-m", "pip", "install", *offline, str(folder / "copy"))
    assert installed.returncode == 0, installed.stderr
    shutil.rmtree(folder / "copy")
    return folder


def packages(folder: Path) -> Path:
    """Return the directory into which the environment's pip installs."""
    return next((folder / "venv" / "lib").glob("python*")) / "site-packages"


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the environment's Python in the folder, without the checkout on its path."""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [folder / "venv" / "bin" / "python", *arguments]
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of each file of the library, by its path."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in files
        if file.parent.name != "__pycache__"
    }


@pytest.mark.slow
def test_every_module_and_data_file_is_installed(outside: Path) -> None:
    library = contents(ROOT / "crosslens")
    assert {Path(name).suffix for name in library} == {
        ".py",
        ".yaml",
        ".j2",
        ".js",
        ".json",
        ".rst",
    }
    assert contents(packages(outside) / "crosslens") == library


@pytest.mark.slow
def test_the_installed_library_works_outside_the_checkout(outside: Path) -> None:
    done = python(outside, "-c", USES_EVERY_NAME)
    assert done.returncode == 0, done.stderr
    place, error = done.stdout.splitlines()
    assert Path(place) == packages(outside) / "crosslens" / "__init__.py"
    assert error.startswith("nowhere: ")


@pytest.mark.slow
def test_the_public_api_imports_what_is_declared(outside: Path) -> None:
    done = python(outside, "-c", FILES_OF_THE_API)
    names = set()
    for file in map(Path, done.stdout.split()):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module)
    roots = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"crosslens"}
    assert {"torch", "pandas"} <= roots
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.match(r"[\w-]+", entry)[0] for entry in project["dependencies"]}
    providers = packages_distributions()
    assert {name for root in roots for name in providers[root]} <= declared
