"""An exported checkpoint has the backend's weights and the base model's other files."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from crosslens.io.errors import InputError
from crosslens.io.records import read_json, write_json
from crosslens.posttraining.checkpoints import export_checkpoint

WEIGHTS = "model.safetensors"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "base")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return a backend's checkpoint: other weights in float32, and additional files."""
    path = tiny_model(tmp_path / "engine", seed=1)
    (path / "training_args.bin").write_bytes(b"")
    write_json(path / "config.json", read_json(path / "config.json") | {"use_cache": False})
    return path


def test_weights_are_the_backends_and_other_files_the_base_models(
    base: Path, saved: Path, tmp_path: Path
) -> None:
    export_checkpoint(saved, base, tmp_path / "rl-1")
    assert {file.name for file in (tmp_path / "rl-1").iterdir()} == {
        file.name for file in base.iterdir()
    }
    for file in base.iterdir():
        same = (tmp_path / "rl-1" / file.name).read_bytes() == file.read_bytes()
        assert same == (file.name != WEIGHTS), file.name
    ours, theirs = load_file(tmp_path / "rl-1" / WEIGHTS), load_file(saved / WEIGHTS)
    assert ours.keys() == theirs.keys() and all(ours[k].equal(theirs[k]) for k in ours)


def test_exported_checkpoint_loads(base: Path, saved: Path, tmp_path: Path) -> None:
    export_checkpoint(saved, base, tmp_path / "rl-1")
    ids = AutoTokenizer.from_pretrained(tmp_path / "rl-1")("what is 1", return_tensors="pt")
    models = (AutoModelForCausalLM.from_pretrained(path) for path in (tmp_path / "rl-1", saved))
    one, two = (model(ids["input_ids"]).logits for model in models)
    assert one.equal(two)


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_dtype_is_that_of_the_base_model(base: Path, saved: Path, tmp_path: Path, key: str) -> None:
    config = read_json(base / "config.json")
    config.pop("dtype", None)
    write_json(base / "config.json", config | {key: "bfloat16"})
    export_checkpoint(saved, base, tmp_path / "rl-1")
    for name, weight in load_file(tmp_path / "rl-1" / WEIGHTS).items():
        assert weight.dtype == torch.bfloat16
        assert weight.equal(load_file(saved / WEIGHTS)[name].bfloat16())


def test_sharded_weights_are_exported(base: Path, saved: Path, tmp_path: Path) -> None:
    AutoModelForCausalLM.from_pretrained(saved).save_pretrained(
        tmp_path / "sharded", max_shard_size="4KB"
    )
    export_checkpoint(tmp_path / "sharded", base, tmp_path / "rl-1")
    assert len(list((tmp_path / "rl-1").glob("*.safetensors"))) > 1
    state = AutoModelForCausalLM.from_pretrained(tmp_path / "rl-1").state_dict()
    for name, weight in load_file(saved / WEIGHTS).items():
        assert state[name].equal(weight)


@pytest.mark.parametrize("stored_by", ["base", "engine"])
def test_a_tied_head_may_be_stored_by_one_of_the_two(
    base: Path, saved: Path, tmp_path: Path, stored_by: str
) -> None:
    """Qwen3-0.6B and 1.7B tie their head and store it, and backends save it once."""
    folder = base if stored_by == "base" else saved
    weights = load_file(folder / WEIGHTS)
    head = {"lm_head.weight": weights["model.embed_tokens.weight"].clone()}
    save_file(weights | head, folder / WEIGHTS, {"format": "pt"})
    export_checkpoint(saved, base, tmp_path / "rl-1")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "rl-1")
    expected = load_file(saved / WEIGHTS)["model.embed_tokens.weight"]
    assert model.lm_head.weight.equal(expected)
    write_json(
        base / "config.json", read_json(base / "config.json") | {"tie_word_embeddings": False}
    )
    with pytest.raises(InputError, match=r"base model differ in tensor lm_head\.weight"):
        export_checkpoint(saved, base, tmp_path / "rl-2")


@pytest.mark.parametrize("shards", ["1GB", "4KB"])
def test_a_second_copy_of_the_base_weights_is_not_read(
    base: Path, saved: Path, tmp_path: Path, shards: str
) -> None:
    """Mistral's repositories have one, with other names."""
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(
        tmp_path / "given", max_shard_size=shards
    )
    save_file({"tok_embeddings.weight": torch.ones(2)}, tmp_path / "given/consolidated.safetensors")
    export_checkpoint(saved, tmp_path / "given", tmp_path / "rl-1")
    weights = [file.name for file in (tmp_path / "rl-1").glob("*.safetensors")]
    assert weights == [WEIGHTS]


def test_weights_of_another_model_are_refused(base: Path, saved: Path, tmp_path: Path) -> None:
    weights = load_file(saved / WEIGHTS)
    weights["model.norm.weight"] = torch.ones(17)
    save_file(weights, saved / WEIGHTS)
    nested = tmp_path / "run" / "global_step_3" / "actor" / "huggingface"
    shutil.copytree(saved, nested)
    said = rf"base model differ in tensor model\.norm\.weight\. Delete {tmp_path}/run and run again"
    with pytest.raises(InputError, match=said):
        export_checkpoint(nested, base, tmp_path / "rl-1")
    del weights["model.norm.weight"]
    save_file(weights, saved / WEIGHTS)
    with pytest.raises(InputError, match=r"base model differ in tensor model\.norm\.weight"):
        export_checkpoint(saved, base, tmp_path / "rl-1")
    assert not (tmp_path / "rl-1").exists()


def test_missing_checkpoint_is_an_error(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"global_step_3: there is no \*\.safetensors file"):
        export_checkpoint(tmp_path / "global_step_3", base, tmp_path / "rl-1")


def test_non_finite_weights_are_refused(base: Path, saved: Path, tmp_path: Path) -> None:
    weights = load_file(saved / WEIGHTS)
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, saved / WEIGHTS)
    with pytest.raises(InputError, match=r"model\.norm\.weight .*not finite.*learning_rate"):
        export_checkpoint(saved, base, tmp_path / "rl-1")
    assert not (tmp_path / "rl-1").exists()
