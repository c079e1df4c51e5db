"""Several models are extracted in one job; an interrupted job keeps those that are finished."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from tiny_models import FIRST, tiny_network

from crosslens.activations.model_set import CorpusShard, extract_models
from crosslens.config.sections import ActivationsConfig
from crosslens.io.errors import InputError

ROWS = np.random.default_rng(0).integers(FIRST, 20, (6, 8)).astype(np.uint32)
SHARD = CorpusShard("0", ROWS, "corpus", 0)
SETTINGS = ActivationsConfig(batch_size=3)
CODE = ["code"]


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    """Return the directories of two models, the second without weights."""
    paths = [tmp_path / "models" / name for name in ("sft-1", "sft-2")]
    for seed, path in enumerate(paths):
        tiny_network(seed=seed).save_pretrained(path)
    (paths[1] / "model.safetensors").rename(tmp_path / "lost")
    return paths


def interrupted(models: list[Path], out: Path) -> Path:
    """Extract the first model and fail at the second; return what the job has left."""
    with pytest.raises(InputError, match="sft-2"):
        extract_models(models, SHARD, SETTINGS, CODE, out)
    (left,) = out.parent.iterdir()
    return left


def found_again(models: list[Path], out: Path) -> None:
    """Give the second model its weights."""
    (models[0].parents[1] / "lost").rename(models[1] / "model.safetensors")


def test_each_model_has_a_file_and_its_counts(models: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "activations" / "shard-0"
    found_again(models, out)
    counts = extract_models(models, SHARD, SETTINGS, CODE, out)
    assert [counts[name]["rows_written"] for name in ("sft-1", "sft-2")] == [42, 42]
    assert counts["sft-1"]["token_hash"] == counts["sft-2"]["token_hash"]
    for name, expected in counts.items():
        with h5py.File(out / f"{name}.h5") as file:
            stored = {key: file.attrs[key] for key in ("variant", "shard", "model_hash")}
        assert stored == {"variant": name, "shard": "0", "model_hash": expected["model_hash"]}
    assert counts["sft-1"]["model_hash"] != counts["sft-2"]["model_hash"]


def test_an_interrupted_job_does_not_read_a_finished_model_again(
    models: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "activations" / "shard-0"
    left = interrupted(models, out)
    before = (left / "sft-1.h5").stat()
    found_again(models, out)
    extract_models(models, SHARD, SETTINGS, CODE, out)
    after = (out / "sft-1.h5").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("change", ["weights", "code"])
def test_what_has_changed_is_extracted_again(
    models: list[Path], tmp_path: Path, change: str
) -> None:
    out = tmp_path / "activations" / "shard-0"
    before = (interrupted(models, out) / "sft-1.h5").read_bytes()
    found_again(models, out)
    if change == "weights":
        tiny_network(seed=2).save_pretrained(models[0])
    else:
        record = out.with_name(".shard-0.unfinished") / "sft-1.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | {"rows_written": -1}))
    code = ["other code"] if change == "code" else CODE
    counts = extract_models(models, SHARD, SETTINGS, code, out)
    assert counts["sft-1"]["rows_written"] == 42
    assert ((out / "sft-1.h5").read_bytes() == before) == (change == "code")
