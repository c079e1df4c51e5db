"""Hash the library code that a script imports, because Snakemake compares only the script itself.

Comments, docstrings and formatting do not count, so editing them reruns nothing. Three other things
do not count: the package `workflow`, which decides how a job runs, not what it computes; the
classes of settings, whose values a job has as `params`, which Snakemake compares; and the library's
own `__init__.py`, the public API, from which no script imports.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = "crosslens"
NOT_HASHED = ("crosslens.config.sections", "crosslens.workflow")


@cache
def fingerprint(source: Path, root: Path) -> str:
    """Return a hash of the syntax trees of all library modules that `source` reaches by imports.

    `source` is a script, or a module of the library, which is then included; `root` is the
    checkout. Every file is read once per process, as thousands of jobs need the same few scripts.
    Raises FileNotFoundError when the source does not exist.
    """
    digest = hashlib.sha256()
    for module in sorted(reached(source, root)):
        digest.update(module.relative_to(root).as_posix().encode())
        digest.update(syntax(module).meaning)
    return digest.hexdigest()[:16]


def reached(source: Path, root: Path) -> set[Path]:
    """Return the library's modules that a file imports, directly or through each other."""
    source, root = source.resolve(), root.resolve()
    modules = {source} if source.is_relative_to(root / PACKAGE) else set()
    waiting = [source]
    while waiting:
        new = set(imported(waiting.pop(), root)) - modules
        modules |= new
        waiting += new
    return modules


@cache
def imported(source: Path, root: Path) -> tuple[Path, ...]:
    """Return the library modules named by a file's import statements, wherever these are."""
    return tuple(path for name in syntax(source).names for path in files(name, root))


def files(name: str, root: Path) -> Iterator[Path]:
    """Yield the file of a module of the library, and those of the packages around it."""
    parts = name.split(".")
    if parts[0] != PACKAGE or name.startswith(NOT_HASHED):
        return
    for depth in range(2, len(parts) + 1):
        base = root.joinpath(*parts[:depth])
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                yield path


DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Syntax(NamedTuple):
    """The parts of a module's syntax tree that the hash needs."""

    names: frozenset[str]  # that are imported: modules, and what may be modules in packages
    meaning: bytes  # the tree without docstrings


@cache
def syntax(module: Path) -> Syntax:
    """Read a module, once per process."""
    tree = ast.parse(module.read_text())
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, DOCUMENTED) and node.body and is_docstring(node.body[0]):
            node.body = node.body[1:]
    return Syntax(frozenset(names), ast.dump(tree).encode())


def is_docstring(first: ast.stmt) -> bool:
    """Return whether the first statement of a body is a docstring."""
    return (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )
