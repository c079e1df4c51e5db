"""The model between base and SFT whose drift is that of the RL model."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import letter_tokenizer, tiny_network

from crosslens.activations.drift import drift, interpolate, match, scaled, without_sinks
from crosslens.activations.drift import match_drift as drift_of
from crosslens.config.sections import ActivationsConfig
from crosslens.data.corpus import Corpus, write_corpus
from crosslens.io.records import read_json

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import match_drift  # noqa: E402


def test_drift_of_worked_numbers():
    """Twice the activations are the same after scaling; a row's right angle is 2 d in two."""
    x = torch.tensor([[3.0, 4.0], [5.0, 0.0]])
    torch.testing.assert_close(scaled(x).norm(dim=1), torch.full((2,), 2**0.5))
    assert drift(2 * x, x) == pytest.approx(0)
    assert drift(torch.tensor([[4.0, -3.0], [5.0, 0.0]]), x) == pytest.approx(4 / 2)


def test_a_row_that_is_a_sink_in_one_model_is_left_out():
    x = torch.ones(5, 3)
    sink = x.clone()
    sink[2] *= 20
    assert without_sinks([x, sink], 10.0).tolist() == [True, True, False, True, True]


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_alpha_is_found_for_any_growing_drift(power):
    asked = []
    alpha, found = match(0.2, 5.0, lambda a: asked.append(a) or 5.0 * a**power)
    assert found == pytest.approx(0.2, rel=0.01)
    assert alpha == pytest.approx((0.2 / 5) ** (1 / power), rel=0.02)
    assert len(asked) <= 6


def test_where_sft_moved_less_than_rl_it_is_sft_itself():
    assert match(0.2, 0.1, lambda a: a) == (1.0, 0.1)


def test_where_rl_did_not_move_it_is_base():
    assert match(0.0, 5.0, lambda a: 5 * a) == (0.0, 0.0)


def test_a_model_between_two_others():
    base, sft, between = (tiny_network(seed=seed) for seed in (0, 1, 2))
    interpolate(between, base, sft, 0.25)
    for name, weight in between.state_dict().items():
        expected = 0.75 * base.state_dict()[name] + 0.25 * sft.state_dict()[name]
        torch.testing.assert_close(weight, expected)


def test_the_script_writes_a_model_of_the_rl_models_drift(tmp_path):
    base, sft, rl = (tiny_network(seed=seed) for seed in (0, 1, 2))
    interpolate(rl, base, rl, 0.05)
    for name, network in (("base", base), ("sft", sft), ("rl", rl)):
        network.save_pretrained(tmp_path / name)
        letter_tokenizer().save_pretrained(tmp_path / name)
    rows = torch.randint(3, 20, (12, 16)).numpy().astype("uint32")
    write_corpus(
        Corpus(rows, np.zeros(12, dtype=np.uint8), ["a"], "h", {}),
        tmp_path / "corpus.h5",
        heldout_rows=8,
        shards=1,
    )
    settings = ActivationsConfig(layer=1, sink_threshold=10.0, batch_size=4, skip_positions=1)
    match_drift.main(
        corpus=tmp_path / "corpus.h5",
        **{name: tmp_path / name for name in ("base", "sft", "rl")},
        settings=settings,
        model=tmp_path / "matched",
        measured=tmp_path / "drift.json",
    )
    found = read_json(tmp_path / "drift.json")
    assert found["drift"] == pytest.approx(found["rl"], rel=0.01) and found["sft"] > found["rl"]
    again = drift_of(
        tmp_path / "corpus.h5",
        *(tmp_path / name for name in ("base", "sft", "matched")),
        settings,
    )
    assert again.rl == pytest.approx(found["drift"], rel=1e-3), "as it is read back"
