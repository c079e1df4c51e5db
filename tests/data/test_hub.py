"""Models and data sets through huggingface_hub, from a hub on this machine with its protocol."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_hub import COMMIT, make_repositories, serve

ROOT = Path(__file__).resolve().parents[2]
DATA = """
import json
from crosslens.config.sections import DatasetSource
from crosslens.data.datasets import files_of, rows
source = DatasetSource(dataset="org/data", revision=REVISION, files="data/*.parquet")
print(json.dumps(list(rows(files_of(source)))))
"""
MODEL = """
from crosslens.data.hub import model_directory
folder = model_directory(MODEL, REVISION)
print(*sorted(path.name for path in folder.iterdir()))
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return where a hub answers."""
    with serve(make_repositories(tmp_path_factory.mktemp("hub"))) as found:
        yield found


def ask(
    program: str, cache: Path, address: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program whose hub, a mirror to huggingface_hub, is at the address."""
    program = f"REVISION = {COMMIT!r}\nMODEL = 'org/model'\n{program}"
    given = {"HF_ENDPOINT": address, "HF_HOME": str(cache), "PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=os.environ | given, capture_output=True, text=True)


def test_a_data_set_comes_from_a_mirror_and_then_from_the_cache(tmp_path, address) -> None:
    expected = [{"problem": f"p{part}", "answer": str(part)} for part in range(2)]
    first = ask(DATA, tmp_path, address)
    assert json.loads(first.stdout) == expected, first.stderr
    assert not list(tmp_path.rglob("README.md")), "only what the pattern names is downloaded"
    nowhere = "http://127.0.0.1:9"
    again = ask(DATA, tmp_path, nowhere, HF_HUB_OFFLINE="1")
    assert json.loads(again.stdout) == expected, again.stderr


def test_a_model_comes_without_its_second_copy(tmp_path, address) -> None:
    found = ask(MODEL, tmp_path, address)
    assert found.stdout.split() == ["config.json", "model.safetensors", "tokenizer.json"]


def test_a_gated_model_needs_a_token(tmp_path, address) -> None:
    gated = MODEL.replace("MODEL, ", "'org/gated', ")
    refused = ask(gated, tmp_path, address, HF_TOKEN="")
    assert refused.returncode and "the model org/gated at" in refused.stderr.splitlines()[-1]
    assert "HF_TOKEN where it is gated" in refused.stderr.splitlines()[-1]
    assert ask(gated, tmp_path, address, HF_TOKEN="hf_given").returncode == 0


@pytest.mark.parametrize(
    ("program", "environment", "said"),
    [
        (DATA.replace("REVISION", "'9' * 40", 1), {}, "the dataset org/data at 999"),
        (DATA, {"HF_HUB_OFFLINE": "1"}, "the dataset org/data at 0123"),
        (DATA, {"HF_ENDPOINT": "http://127.0.0.1:9"}, "the dataset org/data at 0123"),
    ],
    ids=["no such revision", "offline, not in the cache", "nobody answers"],
)
def test_what_cannot_be_had_is_one_line(tmp_path, address, program, environment, said) -> None:
    done = ask(program, tmp_path, address, **environment)
    last = done.stderr.splitlines()[-1]
    assert done.returncode and last.startswith("crosslens.io.errors.InputError: ") and said in last
    assert "HF_ENDPOINT and HF_HUB_OFFLINE, or give a local path" in last
