"""The inputs of the controls: what stays, what is random, and that it depends on the row alone."""

import numpy as np
import pytest
import torch
from tiny_shards import make_shard

from crosslens.activations.shard_reader import ShardReader
from crosslens.analysis.specificity import l1_norms, nrn
from crosslens.crosscoder.inputs import row_bits, scales_of, slots, view
from crosslens.crosscoder.kernels.train_step import Moments, StepSettings, TrainStep
from crosslens.crosscoder.model import Crosscoder

ROWS = np.arange(4000)
SCALES = torch.tensor([2.0, 0.5, 1.0])


def raw(n=2):
    return torch.randn(len(ROWS), n, 3, generator=torch.Generator().manual_seed(0))


def seen(kind, x, rows=ROWS, shard="0"):
    return view(kind, shard, SCALES[: len(slots(kind, [""] * x.shape[1]))])(x.clone(), rows)


def test_activations_are_scaled():
    x = raw()
    assert torch.equal(seen("activations", x), x * SCALES[:2, None])


@pytest.mark.parametrize("n", [2, 3])
def test_every_order_of_a_rows_models_is_as_likely(n):
    x, found = raw(n) * SCALES[:n, None], seen("swapped", raw(n))
    places = (found[:, :, None] == x[:, None]).all(dim=3).float()
    assert torch.equal(places.sum(dim=2), torch.ones(len(x), n)), "each model once"
    torch.testing.assert_close(places.mean(dim=0), torch.full((n, n), 1 / n), atol=0.03, rtol=0)
    neighbours = places[1:, 0, 0] @ places[:-1, 0, 0] / len(x)
    assert neighbours.item() == pytest.approx(1 / n**2, abs=0.03), "rows are independent"


def test_noise_has_the_length_of_the_difference_and_no_direction():
    x, found = raw(3) * SCALES[:, None], seen("noise", raw(3))
    assert torch.equal(found[:, 0], x[:, 0])
    noise = found[:, 1:] - found[:, :1]
    torch.testing.assert_close(noise.norm(dim=2), (x[:, 1:] - x[:, :1]).norm(dim=2))
    unit = torch.nn.functional.normalize(noise, dim=2)
    covariance = torch.einsum("bni,bmj->nimj", unit, unit).reshape(6, 6) / len(x)
    torch.testing.assert_close(covariance, torch.eye(6) / 3, atol=0.03, rtol=0)


@pytest.mark.parametrize("kind", ["swapped", "noise"])
def test_random_choices_depend_on_the_row_and_its_shard_alone(kind):
    x, some = raw(), np.random.default_rng(0).permutation(4000)[:100]
    assert torch.equal(seen(kind, x)[some], seen(kind, x[some], some))
    assert not torch.equal(seen(kind, x), seen(kind, x, shard="1"))


def test_every_model_is_the_first():
    x = raw(3)
    scales = SCALES[:1].repeat(3)
    assert torch.equal(view("self", "0", scales)(x, ROWS), (x[:, :1] * 2).expand(-1, 3, -1))


def pair_without_some_concepts(rows):
    """Return activations of a pair [rows, 2, 24] with 40 concepts, of which base lacks ten."""
    draw = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(40, 24, generator=draw), dim=1)
    f = 0.5 + torch.rand(rows, 40, generator=draw)
    f *= torch.rand(rows, 40, generator=draw) < 0.08
    strength = torch.full((2, 40), 4.0)
    strength[0, :10] = 0
    x = torch.einsum("tk,nk,kd->tnd", f, strength, directions)
    return x + 0.1 * torch.randn(x.shape, generator=draw)


def trained_shares(kind, steps=300, size=128):
    """Return the NRN of all features that fire in a small crosscoder of these inputs."""
    raw = pair_without_some_concepts(50 * size)
    x = view(kind, "0", torch.ones(2))(raw, np.arange(len(raw)))
    crosscoder = Crosscoder(2, 24, 96, decoder_norm=0.1)
    settings = StepSettings((0.9, 0.999), 1.0, path="dense")
    stepper = TrainStep(crosscoder, Moments.zero(crosscoder), size, settings)
    for step in range(steps):
        first = step % 50 * size
        rate = 3e-3 * min(1.0, 5 * (1 - step / steps))
        stepper.take(x[first : first + size], 1.0, rate, step)
    alive = (crosscoder.encode(x[:2000]) > 0).any(dim=0)
    return nrn(l1_norms(crosscoder.W_dec.detach()))[alive]


def test_tails_of_the_controls_of_planted_concepts():
    """With RL's concepts one tail is full and the other is empty. Swapped rows fill both equally:
    the tail alone is no evidence, but that it is on one side is. A pair of one model has none."""
    shares = {kind: trained_shares(kind) for kind in ("activations", "swapped", "self")}
    right = {kind: int((values > 0.8).sum()) for kind, values in shares.items()}
    left = {kind: int((values < 0.2).sum()) for kind, values in shares.items()}
    assert right["activations"] >= 10 and left["activations"] == 0
    swapped = right["swapped"] + left["swapped"]
    assert swapped >= 10 and abs(right["swapped"] - left["swapped"]) <= 2 * swapped**0.5
    assert shares["self"].std() < 0.015 and (shares["self"] - 0.5).abs().max() < 0.05


def test_bits_are_fair():
    bits = row_bits("0", ROWS, 3)[:, :, None] >> torch.arange(64) & 1
    assert (bits.float().mean(dim=(0, 1)) - 0.5).abs().max() < 0.03


def test_differences_have_one_slot_of_the_right_norm(tmp_path):
    x = raw()
    paths = [make_shard(tmp_path / m / "shard-0.h5", x[:, i]) for i, m in enumerate("ab")]
    assert slots("differences", ["base", "rl-5"]) == ["rl-5-base"]
    with ShardReader(paths) as reader:
        scales = scales_of("differences", reader, 300)
        rows, found = next(reader.numbered_batches(len(ROWS)))
        inputs = view("differences", "0", scales)(found.clone(), rows)
        assert torch.equal(scales_of("swapped", reader, 300), reader.scales)
    torch.testing.assert_close(inputs[:, 0], scales * (found[:, 1] - found[:, 0]))
    assert inputs.norm(dim=2).mean().item() == pytest.approx(3**0.5, rel=1e-4)
