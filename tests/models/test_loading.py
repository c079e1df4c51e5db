"""Checkpoints load in one way; a broken or incomplete one is a one-line error."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import tiny_network
from transformers import AutoModel, AutoModelForCausalLM

from crosslens.io.errors import InputError
from crosslens.models.loading import load_network


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    tiny_network().save_pretrained(tmp_path)
    return tmp_path


def test_network_is_ready_for_inference_with_the_saved_weights(checkpoint: Path) -> None:
    network = load_network(checkpoint, AutoModelForCausalLM)
    assert not network.training
    for name, weight in tiny_network().state_dict().items():
        assert torch.equal(network.state_dict()[name].float().cpu(), weight), name


@pytest.mark.parametrize("auto_class", [AutoModel, AutoModelForCausalLM])
def test_missing_weight_is_an_error(checkpoint: Path, auto_class: type) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, checkpoint / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="1 weights are missing; first: .*up_proj"):
        load_network(checkpoint, auto_class)


def test_truncated_file_is_an_error_that_names_the_checkpoint(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match=f"{checkpoint}: this checkpoint cannot be loaded"):
        load_network(checkpoint, AutoModel)


def test_empty_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path}: this checkpoint cannot be loaded"):
        load_network(tmp_path, AutoModelForCausalLM)
