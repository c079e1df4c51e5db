"""A model and problems for ten steps of verl."""

from pathlib import Path

import pandas as pd
import pytest
from tiny_models import tiny_problems, tiny_solver

from crosslens.data.traces import grpo_rows


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, and problems for ten steps and an incomplete batch."""
    world = tmp_path_factory.mktemp("world")
    tiny_solver(world / "base")
    pd.DataFrame(grpo_rows(tiny_problems(42), 4)).to_parquet(world / "grpo.parquet")
    return world
