"""An edit changes the chosen features' share and nothing else."""

import json
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
import torch
from tiny_models import letter_tokenizer, tiny_network

from crosslens.analysis.feature_scores import features_of
from crosslens.analysis.feature_selection import FeatureSet
from crosslens.analysis.interventions import count_right, edit, effects, intervene
from crosslens.config.sections import EvaluationConfig
from crosslens.crosscoder.model import Crosscoder
from crosslens.evaluation.harness import Model, tasks_of
from crosslens.evaluation.harness import run as evaluate
from crosslens.io.errors import InputError

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
    options = {"index": INDEX, "features": [1, 4], "value": 0.0, "layer": LAYER}
    with intervene(model, crosscoder, **{**options, "readout": "branch", **changes}):
        return logits(model)


def test_the_edit_by_hand() -> None:
    h, f = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5]])
    new = edit(h, f, 3.0, torch.tensor([[4.0, -2.0]]), scale=2.0)
    assert new.tolist() == [[1 + 2.5 * 4 / 2, 2 - 2.5 * 2 / 2]]


def test_no_features_is_the_identity(model, crosscoder) -> None:
    torch.testing.assert_close(run(model, crosscoder, features=[]), logits(model))


def test_features_with_zero_decoder_are_the_identity(model, crosscoder) -> None:
    crosscoder.W_dec.data.zero_()
    torch.testing.assert_close(run(model, crosscoder, value=3.0), logits(model))


def test_setting_a_feature_to_its_own_value_is_the_identity() -> None:
    h, f = torch.randn(5, 16), torch.full((5, 1), 0.7)
    torch.testing.assert_close(edit(h, f, 0.7, torch.randn(1, 16), 2.0), h)


def hidden(model: torch.nn.Module) -> torch.Tensor:
    """The residual stream after the layer, edits included."""
    seen = []
    hook = model.model.layers[LAYER - 1].register_forward_hook(
        lambda module, args, output: seen.append(output[0] if isinstance(output, tuple) else output)
    )
    logits(model)
    hook.remove()
    return seen[0]


def test_only_positions_that_crosscoders_are_trained_on_are_edited(model, crosscoder) -> None:
    before = hidden(model)
    crosscoder.scales[INDEX] = before.shape[-1] ** 0.5  # then the mean norm is 1
    norms = before.norm(dim=-1)
    options = {"index": INDEX, "features": [1, 4], "value": 50.0, "layer": LAYER}
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
    run(model, crosscoder, readout=readout, value=value)
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
    assert not torch.allclose(run(model, crosscoder, value=3.0), before)
    torch.testing.assert_close(logits(model), before)


CHOICES = {"text": ["c", "e", "g"], "label": ["A", "B", "C"]}
DOCS = [
    {"id": str(i), "question_stem": f"a {letter}", "choices": CHOICES, "answerKey": "ABC"[i % 3]}
    for i, letter in enumerate("bcdefghijklm")
]


@pytest.fixture
def harness(tmp_path: Path):
    file = tmp_path / "openbookqa.jsonl"
    file.write_text("".join(json.dumps(doc) + "\n" for doc in DOCS))
    settings = EvaluationConfig(files={"openbookqa": str(file)})
    with tasks_of(settings, ["openbookqa"]) as tasks:
        yield tasks


def documents(samples: list[dict]) -> list[dict]:
    return [{"doc_id": s["doc_id"], "doc_hash": s["doc_hash"]} for s in samples]


def test_effects_are_measured_before_and_after_on_the_critical_samples(harness, crosscoder) -> None:
    network = tiny_network()
    model = Model(pretrained=network, tokenizer=letter_tokenizer(), batch_size=4, max_length=64)
    whole = evaluate(model, harness)["openbookqa"]
    right = [s for s in whole if s["acc"]]
    assert right, "the random model gets some right"
    critical = {"openbookqa": documents(right)}
    task = ["openbookqa"]
    sets = [FeatureSet("none", "intersection", 0, [], task, 0)]
    sets.append(FeatureSet("x", "y", 1, [1, 4], task, 2))
    options = {"index": INDEX, "value": 50.0, "layer": LAYER, "readout": "branch"}
    editing = partial(intervene, network, crosscoder, **options)
    empty, edited = effects(model, harness, critical, sets, lambda f: editing(features=f))
    with editing(features=[1, 4]):
        after = evaluate(model, harness)["openbookqa"]
    kept = {s["doc_id"] for s in right} & {s["doc_id"] for s in after if s["acc"]}
    assert (empty["accuracy_before"], empty["change"], empty["n_features"]) == (1.0, 0.0, 0)
    assert edited["accuracy_after"] == len(kept) / len(right) < 1
    assert (edited["set"], edited["index"], edited["n_samples"]) == ("x", 1, len(right))


def test_documents_that_changed_are_refused(harness) -> None:
    model = Model(
        pretrained=tiny_network(), tokenizer=letter_tokenizer(), batch_size=4, max_length=64
    )
    with pytest.raises(InputError, match="openbookqa: its documents changed"):
        count_right(model, harness, {"openbookqa": [{"doc_id": 0, "doc_hash": "other"}]})


def test_no_critical_samples_anywhere_is_no_row() -> None:
    model = Model(
        pretrained=tiny_network(), tokenizer=letter_tokenizer(), batch_size=4, max_length=64
    )
    sets = [FeatureSet("intersection", "intersection", 0, [1], [], 1)]
    assert list(effects(model, {}, {}, sets, lambda f: nullcontext())) == []
