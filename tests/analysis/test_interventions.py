"""An edit changes the chosen features' share and nothing else."""

import pytest
import torch
from tiny_models import tiny_network

from crosslens.analysis.edits import ZERO, Dose
from crosslens.analysis.feature_scores import features_of
from crosslens.analysis.interventions import intervene
from crosslens.crosscoder.model import Crosscoder

LAYER, INDEX = 2, 1
IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])


@pytest.fixture(params=["qwen3", "qwen2", "llama"])
def model(request) -> torch.nn.Module:
    return tiny_network(request.param)


@pytest.fixture
def crosscoder() -> Crosscoder:
    torch.manual_seed(0)
    crosscoder = Crosscoder(3, 16, 8, decoder_norm=1.0, metadata={"models": ["a", "b", "c"]})
    crosscoder.b_enc.data.normal_()
    crosscoder.scales.copy_(torch.tensor([1.0, 2.0, 3.0]))
    return crosscoder


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


def run(model, crosscoder, **changes) -> torch.Tensor:
    options = {"index": INDEX, "features": [1, 4], "dose": ZERO, "layer": LAYER}
    with intervene(model, crosscoder, **{**options, "readout": "branch", **changes}):
        return logits(model)


def test_no_features_is_the_identity(model, crosscoder) -> None:
    torch.testing.assert_close(run(model, crosscoder, features=[]), logits(model))


def test_features_with_zero_decoder_are_the_identity(model, crosscoder) -> None:
    crosscoder.W_dec.data.zero_()
    torch.testing.assert_close(run(model, crosscoder, dose=Dose("set", 3.0)), logits(model))


def hidden(model: torch.nn.Module) -> torch.Tensor:
    """Return the residual stream after the layer, edits included."""
    seen = []
    hook = model.model.layers[LAYER - 1].register_forward_hook(
        lambda module, args, output: seen.append(output[0] if isinstance(output, tuple) else output)
    )
    logits(model)
    hook.remove()
    return seen[0]


def test_by_default_the_first_position_and_sinks_are_not_edited(model, crosscoder) -> None:
    """By default as in the workflow: a study's skip_positions is 1, its sink_threshold 10."""
    before = hidden(model)
    norms = before.norm(dim=-1)
    options = {"index": INDEX, "features": [1, 4], "dose": Dose("set", 50.0), "layer": LAYER}
    for mean in (norms.max().item(), norms.median().item() / 10):
        crosscoder.scales[INDEX] = before.shape[-1] ** 0.5 / mean
        with intervene(model, crosscoder, readout="branch", **options):
            edited = (hidden(model) != before).any(dim=-1)
        expected = (norms <= 10.001 * mean) & (torch.arange(IDS.shape[1]) >= 1)
        assert edited.tolist() == expected.tolist() and edited.any()
    assert edited.sum() < IDS.numel() - len(IDS), "a sink beyond the first position"


def test_first_positions_and_sinks_are_not_edited(model, crosscoder) -> None:
    before = hidden(model)
    crosscoder.scales[INDEX] = before.shape[-1] ** 0.5  # then the mean norm is 1
    norms = before.norm(dim=-1)
    options = {"index": INDEX, "features": [1, 4], "dose": Dose("set", 50.0), "layer": LAYER}
    options |= {"readout": "branch", "skip_positions": 1, "sink_threshold": norms.median().item()}
    with intervene(model, crosscoder, **options):
        after = hidden(model)
    edited = (after != before).any(dim=-1)
    expected = (norms <= norms.median()) & (torch.arange(IDS.shape[1]) >= 1)
    assert edited.tolist() == expected.tolist() and edited.any()


@pytest.mark.parametrize("readout", ["branch", "branch_scaled", "swap"])
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_the_hook_edits_the_residual_stream(model, crosscoder, readout, value) -> None:
    features = [1, 4]
    with torch.no_grad():
        h = model(IDS, output_hidden_states=True).hidden_states[LAYER]
        x = h.flatten(0, 1)[:, None].expand(-1, 3, -1)
        f = features_of(crosscoder, x, INDEX, readout)[:, features]
        W_dec = crosscoder.W_dec[INDEX, features]
        wanted = h + ((value - f) @ W_dec / 2.0).view_as(h)
    seen = {}
    after = model.model.layers[LAYER].register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(h=args[0] if args else kwargs["hidden_states"]),
        with_kwargs=True,
    )
    everywhere = {"skip_positions": 0, "sink_threshold": float("inf")}
    run(model, crosscoder, readout=readout, dose=Dose("set", value), **everywhere)
    after.remove()
    torch.testing.assert_close(seen["h"], wanted, atol=1e-5, rtol=1e-5)


def test_joint_reads_the_other_models_too(model, crosscoder) -> None:
    def others(input_ids: torch.Tensor) -> torch.Tensor:
        return torch.zeros(input_ids.numel(), 3, 16)

    crosscoder.b_enc.data.fill_(-1.0)  # all inputs zero: no feature fires, zeroing changes nothing
    same = run(model, crosscoder, readout="joint", others=others)
    torch.testing.assert_close(same, logits(model))


def test_the_model_is_itself_again_afterwards(model, crosscoder) -> None:
    before = logits(model)
    assert not torch.allclose(run(model, crosscoder, dose=Dose("set", 3.0)), before)
    torch.testing.assert_close(logits(model), before)
