"""Find lm-eval's task files without importing lm-eval, which takes many seconds."""

import re
from importlib.util import find_spec
from pathlib import Path

from crosslens.io.errors import InputError


def task_file(task: str) -> Path:
    """Return the YAML file that describes a task.

    Raises InputError where the harness is not installed or has no such task.
    """
    line = re.compile(rf"^task: {re.escape(task)}\s*$", re.MULTILINE)
    package = find_spec("lm_eval")
    if package is None or package.origin is None:
        raise InputError("evaluation: lm-eval is not installed. Install crosslens[evaluation].")
    root = Path(package.origin).parent / "tasks"
    likely = sorted(root.glob(f"{task.split('_')[0]}*/*.yaml"))
    for path in [*likely, *sorted(root.rglob("*.yaml"))]:
        if line.search(path.read_text(errors="replace")):
            return path
    raise InputError(
        f"evaluation.tasks: lm-eval has no task {task}. Choose one that `lm-eval ls tasks` lists."
    )
