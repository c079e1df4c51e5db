"""Kills, a full disk, an unreadable and a lost file: the rerun makes what an undisturbed run makes.

The short form of kills.py, on models that were not trained.
"""

import os
import subprocess
import time
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, ROOT, TINY, Study, jobs
from kills import Run, finish, forget, torment
from untrained_models import VARIANTS  # noqa: F401

KILLS = 20
TARGETS = ("table2", "figure4")
KEPT = ("world", "models", "logs", "benchmarks")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study that has its world and its models, and nothing of what comes after."""
    study = Study(tmp_path_factory.mktemp("undisturbed"), TINY)
    study.change("activations.window", 2)
    finish(study, "--", "results/tiny/world/tokenizer")
    world = study.folder / "results" / "tiny" / "world"
    command = [ROOT / ".venvs" / "analysis" / "bin" / "python"]
    command += [Path(__file__).with_name("untrained_models.py"), world / "tokenizer"]
    subprocess.run([*command, world.parent / "models" / "tiny"], check=True, env=ENVIRONMENT)
    return study
