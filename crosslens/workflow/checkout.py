"""The commit of the project's own checkout, told when the report is made: no job depends on it."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def commit(root: Path = ROOT) -> str:
    """The git commit of a checkout, "modified" beside it where files in git were edited since.

    Where there is none to be told, "unknown" and why.
    """
    if not (root / ".git").exists():
        return "unknown: not a git checkout"
    checkout = [f"--git-dir={root / '.git'}", f"--work-tree={root}"]
    asked = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty= (modified)"]
    try:
        said = subprocess.run(
            ["git", "--no-optional-locks", *checkout, *asked],
            capture_output=True,
            text=True,
            check=True,
        )
    except OSError:
        return "unknown: git is not installed"
    except subprocess.CalledProcessError as error:
        return f"unknown: {error.stderr.strip().splitlines()[0]}"
    return said.stdout.strip()
