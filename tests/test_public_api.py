"""What `import crosslens` offers, and that it costs nothing until it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import crosslens

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = {"lm_eval", "numba", "seaborn"}  # of pyproject.toml
HEAVY = {"torch", "transformers", "numpy", "pandas"} | EXTRAS


def loaded_after(code: str) -> set[str]:
    """Return which heavy packages a new process has loaded after some code."""
    code += f"\nimport sys; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_no_torch() -> None:
    assert loaded_after("import crosslens; dir(crosslens)") == set()


@pytest.mark.slow
def test_the_public_api_needs_no_extra() -> None:
    assert loaded_after("from crosslens import *") == HEAVY - EXTRAS


@pytest.mark.parametrize("name", crosslens.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    assert getattr(crosslens, name).__doc__
    assert getattr(crosslens, name).__module__ == crosslens.MODULES[name]


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(crosslens, "nothing")


def test_scripts_and_library_import_from_modules() -> None:
    """Else code hashes would not see what they use: `crosslens/__init__.py` counts in none."""
    for path in [*ROOT.glob("scripts/*.py"), *ROOT.glob("crosslens/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.module != "crosslens", path
