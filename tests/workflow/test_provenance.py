"""Versions are those of the environment at work; the commit is that of the checkout, or why not."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from crosslens.workflow.provenance import commit, installed


def test_what_is_not_installed_is_not_named() -> None:
    found = installed("torch", "no-such-package")
    assert found == {"Python": platform.python_version(), "torch": torch.__version__}


def git(folder: Path, *arguments: str) -> str:
    """Run git, as someone it knows."""
    who = ["-c", "user.name=n", "-c", "user.email=e@x", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Make a repository with one file in it."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("1\n")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    git(tmp_path, "tag", "v1")
    return tmp_path


def test_the_commit_and_whether_it_was_edited(checkout: Path, monkeypatch) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(checkout / "elsewhere"))  # as in a hook of another repository
    (checkout / "results").write_text("not in git\n")
    assert commit(checkout) == head
    (checkout / "file").write_text("2\n")
    assert commit(checkout) == f"{head} (modified)"


def test_without_a_checkout_it_says_so(checkout: Path, monkeypatch) -> None:
    inside = checkout / "unpacked"
    inside.mkdir()
    assert commit(inside) == "unknown: not a git checkout"
    (inside / ".git").write_text("nonsense\n")
    assert commit(inside).startswith("unknown: fatal: ")
    monkeypatch.setenv("PATH", os.devnull)
    assert shutil.which("git") is None
    assert commit(checkout) == "unknown: git is not installed"
