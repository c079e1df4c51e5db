"""A hash of the library code a script reaches: Snakemake sees scripts change, not their imports.

Comments, docstrings and formatting do not count, so editing them reruns nothing.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = "crosslens"


@cache
def fingerprint(script: Path) -> str:
    """Hash of the syntax trees of all modules of the library that `script` imports, transitively.

    Every file is read once a process: thousands of jobs ask for the same few scripts.
    Raises FileNotFoundError when the script does not exist.
    """
    root = script.resolve().parent.parent
    digest = hashlib.sha256()
    for module in sorted(reached(script.resolve(), root)):
        digest.update(module.relative_to(root).as_posix().encode())
        digest.update(meaning(module))
    return digest.hexdigest()[:16]


def reached(script: Path, root: Path) -> set[Path]:
    """The library's modules a file imports, directly or through each other."""
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        new = {path for path in imported(waiting.pop(), root) if path not in found}
        found |= new
        waiting += new
    return found


@cache
def imported(source: Path, root: Path) -> tuple[Path, ...]:
    """The library's modules named in the import statements of one file, wherever they stand."""
    names = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return tuple(path for name in names for path in files(name, root))


def files(name: str, root: Path) -> Iterator[Path]:
    """The file of a module of the library, and those of the packages around it."""
    parts = name.split(".")
    if parts[0] != PACKAGE:
        return
    for depth in range(1, len(parts) + 1):
        base = root.joinpath(*parts[:depth])
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                yield path


@cache
def meaning(module: Path) -> bytes:
    """A module's syntax tree without docstrings, as bytes."""
    tree = ast.parse(module.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and is_docstring(node, body[0]):
            node.body = body[1:]
    return ast.dump(tree).encode()


def is_docstring(node: ast.AST, first: ast.stmt) -> bool:
    """Whether `first` is the docstring of `node`."""
    return (
        isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )
