"""The forward pass stops at a layer; every activation is written once, permuted and masked."""

from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from tiny_models import FIRST, tiny_network

from crosslens.activations.extract import (
    count_activations,
    extract,
    layer_index,
    load_truncated,
    residual_stream,
    truncate,
)
from crosslens.activations.shard_reader import DATASETS
from crosslens.activations.shard_writer import Origin, write_shard
from crosslens.io.errors import InputError

SETTINGS = {"seed": 0, "batch_size": 3, "skip_positions": 1, "sink_threshold": 10.0}


def token_rows(count=10, length=8, seed=0):
    return np.random.default_rng(seed).integers(FIRST, 20, (count, length)).astype(np.uint32)


@pytest.fixture
def extracted(tmp_path):
    """Return a function that extracts to a file and reads it back."""

    def run(model, rows, variant="base", shard="0", **changes):
        settings = SETTINGS | changes
        path = tmp_path / variant / f"shard-{shard}.h5"
        size = count_activations(rows, settings["skip_positions"])
        network = truncate(model.model, 2)
        with write_shard(path, size, 16, what=f"activations of {variant}, shard {shard}") as out:
            result = extract(network, rows, out, variant=variant, shard=shard, **settings)
            out.write_metadata(result.rows, Origin(variant, shard, 2, 0, "m", "c"))
        with h5py.File(path) as file:
            stored = {name: file[name][:] for name in DATASETS}
            mean_norm = file.attrs["mean_norm"]
        return SimpleNamespace(**stored, mean_norm=mean_norm, counts=result.counts)

    return run


def as_floats(bits):
    return torch.from_numpy(bits).view(torch.bfloat16).float()


@pytest.mark.parametrize("architecture", ["qwen3", "qwen2", "llama"])
@pytest.mark.parametrize("layer", [1, 2])
def test_truncated_model_gives_the_full_models_hidden_state(architecture, layer, tmp_path):
    full = tiny_network(architecture)
    full.save_pretrained(tmp_path)
    ids = torch.from_numpy(token_rows().astype(np.int64))
    with torch.no_grad():
        expected = full(ids, torch.ones_like(ids), output_hidden_states=True).hidden_states[layer]
        unmasked = full(ids, output_hidden_states=True).hidden_states[layer]
    model, index = load_truncated(tmp_path, layer)
    assert index == layer == len(model.layers)
    assert torch.equal(residual_stream(model, ids), expected)
    torch.testing.assert_close(expected, unmasked)


def test_middle_layer_is_half_of_the_layers_rounded_down():
    assert layer_index(tiny_network(layers=3).config, "middle") == 1
    assert layer_index(tiny_network(layers=4).config, "middle") == 2


@pytest.mark.parametrize("layer", [0, 3, -1, 12])
def test_layer_out_of_range_is_refused(layer):
    with pytest.raises(InputError, match="out of range for a model of 3 layers"):
        layer_index(tiny_network(layers=3).config, layer)


def test_row_holds_the_activation_of_its_token(extracted):
    model, rows = tiny_network(), token_rows()
    result = extracted(model, rows)
    x = residual_stream(model.model, torch.from_numpy(rows.astype(np.int64)))
    at = x[result.sequences.astype(int), result.positions.astype(int)]
    torch.testing.assert_close(as_floats(result.activations), at.bfloat16().float())
    assert (rows[result.sequences, result.positions] == result.tokens).all()


def test_first_positions_are_dropped_and_all_others_come_once(extracted):
    result = extracted(tiny_network(), token_rows(), skip_positions=2)
    places = set(zip(result.sequences.tolist(), result.positions.tolist(), strict=True))
    assert places == {(s, p) for s in range(10) for p in range(2, 8)}
    assert len(result.tokens) == 60


def test_permutation_depends_on_the_shard_and_not_on_the_variant(extracted):
    rows = token_rows()
    base, tuned, moved = (
        extracted(tiny_network(seed=0), rows),
        extracted(tiny_network("llama", seed=1), rows, "rl-3", batch_size=7),
        extracted(tiny_network(seed=0), rows, shard="1"),
    )
    for name in ("tokens", "positions", "sequences"):
        assert (getattr(base, name) == getattr(tuned, name)).all()
    assert (base.sequences != moved.sequences).any()
    assert base.counts["token_hash"] == tuned.counts["token_hash"] != moved.counts["token_hash"]
    assert (base.sequences[:-1] > base.sequences[1:]).any()


def test_attention_sinks_are_masked_and_left_out_of_the_mean_norm(extracted):
    model, rows = tiny_network(), token_rows()
    with torch.no_grad():
        model.model.embed_tokens.weight[FIRST] *= 1000
    result = extracted(model, rows)
    sinks = result.tokens == FIRST
    assert sinks.sum() == result.counts["masked_rows"] > 0
    assert (result.mask == ~sinks).all()
    norms = as_floats(result.activations).norm(dim=1).numpy()
    np.testing.assert_allclose(result.mean_norm, norms[~sinks].mean(), rtol=1e-2)


def test_token_counts(extracted):
    rows = token_rows()
    rows[7:] = rows[0]
    counts = extracted(tiny_network(), rows).counts
    assert counts | {"token_hash": ""} == {
        "tokens_requested": 80,
        "rows_written": 70,
        "dropped_positions": 10,
        "sequences": 10,
        "distinct_sequences": 7,
        "zero_rows": 0,
        "masked_rows": 0,
        "token_hash": "",
    }


def test_zero_rows_are_counted(extracted):
    model, rows = tiny_network(), token_rows()
    rows[rows == FIRST] += 1
    rows[3] = FIRST
    with torch.no_grad():
        model.model.embed_tokens.weight[FIRST] = 0  # no bias anywhere: such a sequence stays zero
    assert extracted(model, rows).counts["zero_rows"] == 7


def test_model_with_only_zero_activations_is_refused(extracted):
    model = tiny_network()
    with torch.no_grad():
        model.model.embed_tokens.weight.zero_()
    with pytest.raises(InputError, match="base, shard 0: all activations are zero"):
        extracted(model, token_rows())


def test_attention_is_causal_without_mask_or_padding(extracted, monkeypatch, tmp_path):
    attend, seen = torch.nn.functional.scaled_dot_product_attention, []

    def recorded(query, *args, attn_mask=None, is_causal=False, **kwargs):
        seen.append((len(query), query.shape[2], attn_mask, is_causal))
        return attend(query, *args, attn_mask=attn_mask, is_causal=is_causal, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", recorded)
    for architecture in ("qwen3", "qwen2", "llama"):
        tiny_network(architecture).save_pretrained(tmp_path / architecture)
        model, _ = load_truncated(tmp_path / architecture, 2)
        extracted(SimpleNamespace(model=model), token_rows(), architecture)
    assert seen == [(n, 8, None, True) for n in (3, 3, 3, 1) for _ in range(2)] * 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_activations_are_refused(value, extracted):
    model, rows = tiny_network(), token_rows()
    with torch.no_grad():
        model.model.embed_tokens.weight[rows[9, 7], 0] = value
    with pytest.raises(InputError, match=r"activations of rl-3, shard 1: \d+ of \d+ rows hold NaN"):
        extracted(model, rows, "rl-3", "1")


def test_checkpoint_without_configuration_is_an_error(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}: this checkpoint cannot be loaded"):
        load_truncated(tmp_path, "middle")
