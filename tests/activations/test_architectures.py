"""Every architecture gives its full model's residual stream, takes edits, and is checked."""

from pathlib import Path

import pytest
import torch
from tiny_models import BOS, EOS, FIRST, NETWORKS, PAD, PECULIAR, tiny_network
from transformers import AutoModelForCausalLM, PreTrainedModel

from crosslens.activations import pass_check
from crosslens.activations.extract import load_truncated, residual_stream
from crosslens.activations.pass_check import check_truncated_pass
from crosslens.analysis.edits import Dose
from crosslens.analysis.interventions import intervene
from crosslens.crosscoder.model import Crosscoder
from crosslens.io.errors import InputError
from crosslens.models.decoder import layers_name
from crosslens.models.loading import load_network
from crosslens.models.sampling import sample
from crosslens.models.stated_values import check_stated_values

LAYER = 2
IDS = torch.arange(24).reshape(2, 12) + FIRST
SPECIAL = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}


def network(architecture: str) -> PreTrainedModel:
    """Return a network of four layers in which no norm, bias or window is idle."""
    made = tiny_network(architecture, layers=4, **SPECIAL, **PECULIAR.get(architecture, {}))
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn_like(parameter)
    return made


@pytest.fixture(scope="module", params=NETWORKS)
def checkpoint(request, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param)
    network(request.param).save_pretrained(path)
    return path


@torch.no_grad()
def test_an_architecture_from_loading_to_editing(checkpoint: Path) -> None:
    plain = AutoModelForCausalLM.from_pretrained(checkpoint, attn_implementation="eager").eval()
    expected = plain(
        input_ids=IDS, attention_mask=torch.ones_like(IDS), output_hidden_states=True
    ).hidden_states[LAYER]
    truncated, _ = load_truncated(checkpoint, LAYER)
    torch.testing.assert_close(residual_stream(truncated, IDS), expected, rtol=1e-4, atol=1e-4)
    assert check_truncated_pass(checkpoint, LAYER) < 1e-5
    check_stated_values(checkpoint, checkpoint)

    model = load_network(checkpoint, AutoModelForCausalLM)
    before = model(input_ids=IDS).logits
    torch.testing.assert_close(before, plain(input_ids=IDS).logits, rtol=1e-4, atol=1e-4)
    crosscoder = Crosscoder(1, 16, 8, decoder_norm=1.0)
    options = {"index": 0, "layer": LAYER, "readout": "branch", "dose": Dose("set", 3.0)}
    with intervene(model, crosscoder, features=[], **options):
        torch.testing.assert_close(model(input_ids=IDS).logits, before)
    with intervene(model, crosscoder, features=[1, 4], **options):
        assert (model(input_ids=IDS).logits - before).abs().max() > 1e-2

    greedy = {"max_new_tokens": 3, "temperature": 0.0, "stop_ids": EOS}
    for prompt, found in zip(IDS.tolist(), sample(model, IDS.tolist(), **greedy), strict=True):
        ids = torch.tensor([prompt])
        for token in found.ids:
            assert token == plain(input_ids=ids).logits[0, -1].argmax()
            ids = torch.cat([ids, torch.tensor([[token]])], dim=1)


def test_a_final_norm_that_stays_is_refused(tmp_path: Path, monkeypatch) -> None:
    network("gpt_neox").save_pretrained(tmp_path)
    load = pass_check.load_truncated

    def with_norm(path: Path, layer: int, dtype: torch.dtype) -> tuple[torch.nn.Module, int]:
        model, index = load(path, layer, dtype)
        model.final_layer_norm = torch.nn.LayerNorm(16)
        return model, index

    monkeypatch.setattr(pass_check, "load_truncated", with_norm)
    with pytest.raises(InputError, match="changes the activations by .* cannot be studied"):
        check_truncated_pass(tmp_path, LAYER)


def test_weights_of_sixteen_bits_differ_by_rounding_only(tmp_path: Path) -> None:
    network("llama").to(torch.bfloat16).save_pretrained(tmp_path)
    assert 0 < check_truncated_pass(tmp_path, LAYER) < 0.02


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    broken = network("llama")
    with torch.no_grad():
        broken.model.layers[0].mlp.up_proj.weight[0, 0] = torch.nan
    broken.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="by nan of their norm"):
        check_truncated_pass(tmp_path, LAYER)


def test_an_architecture_whose_layers_are_elsewhere_is_refused() -> None:
    from transformers import OPTConfig, OPTModel

    sizes = {"hidden_size": 16, "ffn_dim": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    with pytest.raises(InputError, match="opt: the decoder layers of this architecture"):
        layers_name(OPTModel(OPTConfig(vocab_size=29, word_embed_proj_dim=16, **sizes)))
