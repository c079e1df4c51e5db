"""Models and data sets through huggingface_hub, from a hub on this machine with its protocol."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_hub import COMMIT, CONVERTED, make_repositories, serve

from crosslens.data.hub import check_disk, model_identity
from crosslens.io.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
DATA = """
import json
from crosslens.config.sections import DatasetSource
from crosslens.data.datasets import files_of, rows
source = DatasetSource(dataset="org/data", revision=REVISION, files="data/*.parquet")
print(json.dumps(list(rows(files_of(source)))))
"""
RECORD = """
import json
from crosslens.data.hub import download
print(json.dumps(download("org/data", REVISION, "dataset", "data/*.parquet")))
"""
MODEL = """
from crosslens.data.hub import model_directory
folder = model_directory(MODEL, REVISION)
print(*sorted(path.name for path in folder.iterdir()))
"""


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with repositories as they lie on the hub."""
    return make_repositories(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="module")
def address(repositories: Path) -> Iterator[str]:
    """Return where a hub answers."""
    with serve(repositories) as found:
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


def test_a_revision_may_have_slashes(tmp_path, address) -> None:
    """It is found by its name in the cache, too."""
    program = RECORD.replace("REVISION", repr(CONVERTED))
    record = json.loads(ask(program, tmp_path, address).stdout)
    assert (record["revision"], record["commit"]) == (CONVERTED, COMMIT)
    assert list(record["files"]) == ["data/train-0.parquet", "data/train-1.parquet"]
    program = DATA.replace("revision=REVISION", f"revision={CONVERTED!r}")
    cached = ask(program, tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert [row["problem"] for row in json.loads(cached.stdout)] == ["p0", "p1"]


def test_a_model_comes_without_its_second_copy(tmp_path, address) -> None:
    found = ask(MODEL, tmp_path, address)
    assert found.stdout.split() == ["config.json", "model.safetensors", "tokenizer.json"]


def test_a_gated_model_needs_a_token(tmp_path, address) -> None:
    gated = MODEL.replace("MODEL, ", "'org/gated', ")
    refused = ask(gated, tmp_path, address, HF_TOKEN="")
    assert refused.returncode and "org/gated at" in refused.stderr.splitlines()[-1]
    assert "HF_TOKEN if it is gated" in refused.stderr.splitlines()[-1]
    assert ask(gated, tmp_path, address, HF_TOKEN="hf_given").returncode == 0


def test_the_storage_of_the_hubs_files_fails_in_one_line(tmp_path, address) -> None:
    """hf_xet, which gets large files in parts, raises a RuntimeError of its own."""
    done = ask(MODEL.replace("MODEL, ", "'org/in-parts', "), tmp_path, address)
    assert "\nRuntimeError: " in done.stderr
    last = done.stderr.splitlines()[-1]
    assert done.returncode and last.startswith("crosslens.io.errors.InputError: org/in-parts at")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "environment", "said"),
    [
        (DATA.replace("REVISION", "'9' * 40", 1), {}, "org/data at 999"),
        (DATA, {"HF_HUB_OFFLINE": "1"}, "org/data at 0123"),
        (DATA, {"HF_ENDPOINT": "http://127.0.0.1:9"}, "org/data at 0123"),
    ],
    ids=["no such revision", "offline, not in the cache", "nobody answers"],
)
def test_what_cannot_be_had_is_one_line(tmp_path, address, program, environment, said) -> None:
    done = ask(program, tmp_path, address, **environment)
    last = done.stderr.splitlines()[-1]
    assert done.returncode and last.startswith("crosslens.io.errors.InputError: ") and said in last
    assert "HF_ENDPOINT and HF_HUB_OFFLINE; or give a local path" in last


def test_a_download_is_recorded_with_licence_and_sizes(tmp_path, address, repositories) -> None:
    """And again without network, from the cache alone."""
    online = ask(RECORD, tmp_path, address)
    record = json.loads(online.stdout)
    folder = repositories / "datasets" / "org" / "data"
    sizes = {f"data/train-{i}.parquet": 0 for i in range(2)}
    assert record["files"] == {name: (folder / name).stat().st_size for name in sizes}
    assert (record["commit"], record["licence"], record["gated"]) == (COMMIT, "mit", False)
    assert "GB to download" in online.stderr
    offline = json.loads(ask(RECORD, tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1").stdout)
    assert offline == record | {"licence": "unknown", "gated": None}


def test_an_incomplete_file_of_the_cache_is_noticed(tmp_path, address) -> None:
    assert ask(RECORD, tmp_path, address).returncode == 0
    (file,) = tmp_path.rglob("snapshots/*/data/train-1.parquet")
    file.resolve().write_bytes(b"PAR1")
    done = ask(RECORD, tmp_path, address)
    assert done.returncode
    assert "data/train-1.parquet is incomplete in" in done.stderr.splitlines()[-1]


def test_a_pattern_without_files_is_refused(tmp_path, address) -> None:
    done = ask(RECORD.replace("data/*.parquet", "test/*.parquet"), tmp_path, address)
    assert done.returncode and "no file matches test/*.parquet" in done.stderr.splitlines()[-1]


def test_a_disk_without_room_is_noticed_before_the_download() -> None:
    with pytest.raises(InputError, match="org/data: 1000000000.0 GB to download, but .* free"):
        check_disk("org/data", COMMIT, "dataset", {"data/train-0.parquet": 10**18})


def test_a_model_is_told_from_another_without_reading_its_weights(tmp_path) -> None:
    """A terabyte would take a quarter of an hour; the teacher's 48 jobs hold GPUs meanwhile."""
    model = tmp_path / COMMIT
    model.mkdir()
    with (model / "model.safetensors").open("wb") as file:
        file.truncate(10**12)  # no block of it is on the disk
    (model / "config.json").write_text("{}")
    before = model_identity(model, None)
    assert before == model_identity(model, None)
    assert before["model.safetensors"][0] == 10**12
    (model / "config.json").write_text("[]")
    os.utime(model / "config.json", ns=(0, before["config.json"][1] + 1))  # coarse clocks
    assert before != model_identity(model, None)
    assert model_identity(model, "main") == {"commit": COMMIT}
