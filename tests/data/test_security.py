"""SECURITY.md's promises, read off the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path for folder in ("crosslens", "scripts", "envs") for path in (ROOT / folder).rglob("*.py")
)
RULES = [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
RUN = {"eval", "exec", "os.system", "os.popen", "subprocess.getoutput", "yaml.load", "torch.load"}


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    """Every node of the syntax trees of our code."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            yield path, node


def test_there_is_code_to_read() -> None:
    assert len(SOURCES) > 60 and len(RULES) > 10


def test_no_model_brings_code_of_its_own() -> None:
    for path, node in nodes():
        if isinstance(node, ast.keyword):
            assert node.arg != "trust_remote_code", path
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert "trust_remote_code" not in node.value, path


def test_nothing_is_unpickled() -> None:
    for path, node in nodes():
        if isinstance(node, ast.Import):
            assert not PICKLES & {alias.name for alias in node.names}, path
        if isinstance(node, ast.ImportFrom):
            assert node.module not in PICKLES, path
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert ast.unparse(node.value) == "False", path


def test_no_text_is_run() -> None:
    """No eval, no shell: commands are lists of words, so nothing in the configuration is parsed."""
    for path, node in nodes():
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in RUN, (path, ast.unparse(node))
        if isinstance(node, ast.keyword) and node.arg == "shell":
            assert ast.unparse(node.value) == "False", path


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_no_rule_has_a_shell_command(path: Path) -> None:
    assert not re.search(r"^ *shell:|\bshell\(", path.read_text(), re.MULTILINE)
