"""Editing code reruns what depends on it; editing a comment or a docstring reruns nothing."""

from pathlib import Path

import pytest

from crosslens import MODULES
from crosslens.workflow import code_hash as module

SCRIPT = "from crosslens.a import f\nfrom crosslens.workflow import job\n"
MODULE_A = '"""Doc."""\nfrom crosslens.b import g\n\n\ndef f():\n    """Doc."""\n    return g()\n'
MODULE_B = "from crosslens.config.sections.c import C\n\n\ndef g():\n    return 1\n"
IDLE = {
    "config/chat_templates.py",
    *(f"config/{name}.py" for name in ("loading", "local_data", "local_models", "locations")),
    *(f"config/{name}.py" for name in ("messages", "reference", "workflow_checks", "yaml_files")),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "crosslens").mkdir()
    (tmp_path / "scripts" / "s.py").write_text(SCRIPT)
    (tmp_path / "crosslens" / "__init__.py").write_text("x = 1\n")
    (tmp_path / "crosslens" / "a.py").write_text(MODULE_A)
    (tmp_path / "crosslens" / "b.py").write_text(MODULE_B)
    (tmp_path / "crosslens" / "unused.py").write_text("x = 1\n")
    sections = tmp_path / "crosslens" / "config" / "sections"
    sections.mkdir(parents=True)
    (sections / "c.py").write_text("class C:\n    x: int = Field(ge=0)\n")
    (tmp_path / "crosslens" / "workflow").mkdir()
    (tmp_path / "crosslens" / "workflow" / "job.py").write_text("x = 1\n")
    return tmp_path


def fingerprint(tree: Path) -> str:
    module.fingerprint.cache_clear()
    module.imported.cache_clear()
    module.syntax.cache_clear()
    return module.fingerprint(tree / "scripts" / "s.py", tree)


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("b.py", "return 1", "return 2", True),
        ("b.py", "return 1", "return 1  # one", False),
        ("a.py", '    """Doc."""', '    """Other words."""', False),
        ("a.py", '"""Doc."""\nfrom', '"""Other words."""\nfrom', False),
        ("a.py", "return g()", "return g() + 1", True),
        ("unused.py", "x = 1", "x = 2", False),
        ("config/sections/c.py", "ge=0", "ge=1", False),
        ("workflow/job.py", "x = 1", "x = 2", False),
        ("__init__.py", "x = 1", "x = 2", False),
    ],
)
def test_only_code_within_reach_counts(
    tree: Path, file: str, old: str, new: str, changes: bool
) -> None:
    before = fingerprint(tree)
    path = tree / "crosslens" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert (fingerprint(tree) != before) == changes


def test_every_module_is_reached_by_a_script() -> None:
    """Else its changes rerun nothing.

    `IDLE` and the package `workflow` serve Snakemake itself; some modules serve researchers alone.
    """
    public = {f"{name.replace('.', '/').partition('/')[2]}.py" for name in MODULES.values()}
    root = Path(__file__).resolve().parents[2]
    own_processes = [
        root / "crosslens/posttraining" / name
        for name in (
            "sft/entrypoint.py",
            "grpo/agent_loop.py",
            "grpo/batch_rollout.py",
            "grpo/cpu_platform.py",
            "grpo/no_router.py",
        )
    ]
    sources = [*root.glob("scripts/*.py"), *own_processes]
    reached = set().union(*(module.reached(s, root) for s in sources))
    idle = {
        path.relative_to(root / "crosslens").as_posix()
        for path in set(root.glob("crosslens/**/*.py")) - reached
        if "workflow" not in path.parts
    }
    settings = {name for name in idle if name.startswith("config/sections/")}
    assert idle - settings - public - {"__init__.py"} <= IDLE
