"""Several models are extracted in one job; a killed job keeps those that are finished."""

from collections.abc import Iterator
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
SOFTWARE = {"code": ["code"]}


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    """Return the directories of two models."""
    paths = [tmp_path / "models" / name for name in ("sft-1", "sft-2")]
    for seed, path in enumerate(paths):
        tiny_network(seed=seed).save_pretrained(path)
    return paths


def killed(models: list[Path], out: Path) -> Path:
    """Extract the first model only, as a killed job does; return what it has left."""

    def until_killed() -> Iterator[Path]:
        yield models[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_models(until_killed(), SHARD, SETTINGS, SOFTWARE, out)
    (left,) = out.parent.iterdir()
    return left


def test_each_model_has_a_file_and_its_counts(models: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "activations" / "shard-0"
    counts = extract_models(models, SHARD, SETTINGS, SOFTWARE, out)
    assert [counts[name]["rows_written"] for name in ("sft-1", "sft-2")] == [42, 42]
    assert counts["sft-1"]["token_hash"] == counts["sft-2"]["token_hash"]
    for name, expected in counts.items():
        with h5py.File(out / f"{name}.h5") as file:
            stored = {key: file.attrs[key] for key in ("variant", "shard", "model_hash")}
        assert stored == {"variant": name, "shard": "0", "model_hash": expected["model_hash"]}
    assert counts["sft-1"]["model_hash"] != counts["sft-2"]["model_hash"]


def test_a_killed_job_does_not_read_a_finished_model_again(
    models: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "activations" / "shard-0"
    left = killed(models, out)
    (left / ".sft-2.h5.000000-1.tmp").write_text("of another machine")
    before = (left / "sft-1.h5").stat()
    extract_models(models, SHARD, SETTINGS, SOFTWARE, out)
    after = (out / "sft-1.h5").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert list(out.parent.iterdir()) == [out]
    names = [f"sft-{k}.{ending}" for k in (1, 2) for ending in ("h5", "json")]
    assert sorted(file.name for file in out.iterdir()) == names


@pytest.mark.parametrize("change", ["weights", "software"])
def test_what_has_changed_is_extracted_again(
    models: list[Path], tmp_path: Path, change: str
) -> None:
    out = tmp_path / "activations" / "shard-0"
    before = (killed(models, out) / "sft-1.h5").stat().st_mtime_ns
    if change == "weights":
        tiny_network(seed=2).save_pretrained(models[0])
    software = SOFTWARE if change == "weights" else {"code": ["other"]}
    extract_models(models, SHARD, SETTINGS, software, out)
    assert (out / "sft-1.h5").stat().st_mtime_ns > before


def test_an_error_of_the_user_leaves_nothing_on_the_disk(
    models: list[Path], tmp_path: Path
) -> None:
    (models[1] / "model.safetensors").unlink()
    out = tmp_path / "activations" / "shard-0"
    with pytest.raises(InputError, match="sft-2"):
        extract_models(models, SHARD, SETTINGS, SOFTWARE, out)
    assert not list(out.parent.iterdir())
