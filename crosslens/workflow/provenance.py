"""Record where results come from: installed package versions and the commit of the checkout."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def commit(root: Path = ROOT) -> str:
    """Return the git commit of a checkout, with "modified" if tracked files were edited since.

    Without a commit, return "unknown" and the reason.
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


def installed(*packages: str) -> dict[str, str]:
    """Return versions of Python and of those packages that are installed, by name."""
    versions = {"Python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
