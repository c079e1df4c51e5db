"""What the tests of both SFT files train on; and, as in the engines' own processes, media packages
are hidden before anything imports transformers."""

from pathlib import Path

import pytest

from crosslens.posttraining.backend_process import hide_media_packages

hide_media_packages()

from tiny_models import tiny_model, tiny_traces  # noqa: E402

from crosslens.data.traces import DATASET, dataset_info, sft_rows  # noqa: E402
from crosslens.io.records import write_json  # noqa: E402

TRACES = 43  # batches of 4: 11 steps, which 5 does not divide


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """Return a tiny model."""
    return tiny_model(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """LLaMA-Factory's directory of `TRACES` traces."""
    path = tmp_path_factory.mktemp("data")
    write_json(path / "dataset_info.json", dataset_info())
    write_json(path / f"{DATASET}.json", sft_rows(tiny_traces(TRACES)))
    return path
