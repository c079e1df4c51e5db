"""The crosscoder's equations on hand-set weights, its start, and its file."""

import math

import pytest
import torch

from crosslens.crosscoder.model import Crosscoder, read_decoder
from crosslens.io.errors import InputError


def hand_set(n_models):
    """d_model 2, d_sparse 2; model i's weights are i + 1 times the first one's."""
    crosscoder = Crosscoder(n_models, 2, 2)
    factor = torch.arange(1.0, n_models + 1)[:, None, None]
    with torch.no_grad():
        crosscoder.W_enc.copy_(factor * torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
        crosscoder.b_enc.copy_(torch.tensor([0.5, 1.0]))
        crosscoder.W_dec.copy_(factor * torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
        crosscoder.b_dec.copy_(torch.tensor([[1.0, -1.0]]).expand(n_models, 2))
    return crosscoder


@pytest.fixture
def pair():
    return hand_set(2)


@pytest.fixture
def trio():
    return hand_set(3)


def test_encoding_of_two_models(pair):
    """Eq. 1: f_0 = 1*2 + 2*1 + .5 = 4.5; f_1 = -1*1 - 2*3 + 1 < 0."""
    x = torch.tensor([[[2.0, 1.0], [1.0, 3.0]]])
    torch.testing.assert_close(pair.encode(x), torch.tensor([[4.5, 0.0]]))


def test_encoding_of_three_models(trio):
    """Eq. 5: f_0 = 2 + 2*1 + 3*(-1) + .5 = 1.5; f_1 = -1 + 2 + 0 + 1 = 2."""
    x = torch.tensor([[[2.0, 1.0], [1.0, -1.0], [-1.0, 0.0]]])
    torch.testing.assert_close(trio.encode(x), torch.tensor([[1.5, 2.0]]))


def test_decoding_of_two_models(pair):
    """Eq. 2: model 0 is (3, 4) + 2 (0, 2) + (1, -1) = (4, 7); model 1 doubles all but the bias."""
    x_hat = pair.decode(torch.tensor([[1.0, 2.0]]))
    torch.testing.assert_close(x_hat, torch.tensor([[[4.0, 7.0], [7.0, 15.0]]]))


def test_decoding_of_three_models(trio):
    """Eq. 6: as Eq. 2, with a third model at three times the weights."""
    x_hat = trio.decode(torch.tensor([[1.0, 2.0]]))
    torch.testing.assert_close(x_hat, torch.tensor([[[4.0, 7.0], [7.0, 15.0], [10.0, 23.0]]]))


def test_loss_of_two_models(pair):
    """Eq. 3, batch mean over two tokens.

    Token 0: f = (4.5, 0), x_hat = (14.5, 17), (28, 35): errors 12.5^2 + 16^2 + 27^2 + 32^2.
    Token 1: f = (.5, 1), x_hat = (2.5, 3), (4, 7): errors 2.5^2 + 3^2 + 4^2 + 7^2.
    Norms over models: feature 0: 5 + 10, feature 1: 2 + 4.
    """
    x = torch.tensor([[[2.0, 1.0], [1.0, 3.0]], [[0.0, 0.0], [0.0, 0.0]]])
    reconstruction = (12.5**2 + 16**2 + 27**2 + 32**2 + 2.5**2 + 3**2 + 4**2 + 7**2) / 2
    sparsity = (4.5 * 15 + 0.5 * 15 + 1 * 6) / 2
    loss = pair.loss(x, beta=2.0)
    assert loss.reconstruction.item() == pytest.approx(reconstruction)
    assert loss.sparsity.item() == pytest.approx(sparsity)
    assert loss.total.item() == pytest.approx(reconstruction + 2 * sparsity)


def test_loss_of_three_models(trio):
    """Eq. 7 at x = 0: f = (.5, 1), norms 5 + 10 + 15 and 2 + 4 + 6."""
    loss = trio.loss(torch.zeros(1, 3, 2), beta=2.0)
    errors = (2.5**2 + 3**2) + (4**2 + 7**2) + (5.5**2 + 11**2)
    assert loss.reconstruction.item() == pytest.approx(errors)
    assert loss.sparsity.item() == pytest.approx(0.5 * 30 + 1 * 12)
    assert loss.total.item() == pytest.approx(errors + 2 * (0.5 * 30 + 1 * 12))


def test_branch_of_one_model(pair):
    """Section 3.2: f_0 = 2*1 + .5, f_1 = -2*3 + 1 < 0."""
    torch.testing.assert_close(
        pair.encode_branch(torch.tensor([1.0, 3.0]), 1), torch.tensor([2.5, 0.0])
    )


def test_forward_is_decode_of_encode():
    crosscoder = Crosscoder(3, 8, 20, seed=1)
    x = torch.randn(5, 3, 8)
    assert torch.equal(crosscoder(x), crosscoder.decode(crosscoder.encode(x)))
    assert torch.equal(crosscoder.loss(x, 1.0).x_hat, crosscoder(x))


def test_branches_add_up_to_the_joint_code_before_the_relu():
    crosscoder = Crosscoder(2, 8, 20)
    with torch.no_grad():
        crosscoder.b_enc += 100.0  # above zero, ReLU is the identity
    x = torch.randn(5, 2, 8)
    total = sum(crosscoder.encode_branch(x[:, i], i) for i in range(2)) - crosscoder.b_enc
    torch.testing.assert_close(crosscoder.encode(x), total)


def test_initial_decoder_has_norm_008_per_model_and_the_encoder_is_tied():
    crosscoder = Crosscoder(2, 16, 32, seed=3)
    norms = crosscoder.W_dec.norm(dim=-1)
    torch.testing.assert_close(norms, torch.full((2, 32), 0.08))
    assert torch.equal(crosscoder.W_enc, crosscoder.W_dec.transpose(1, 2))
    assert not torch.allclose(crosscoder.W_dec[0], crosscoder.W_dec[1])
    assert not crosscoder.b_enc.any() and not crosscoder.b_dec.any()
    assert torch.equal(crosscoder.W_dec, Crosscoder(2, 16, 32, seed=3).W_dec)
    assert not torch.equal(crosscoder.W_dec, Crosscoder(2, 16, 32, seed=4).W_dec)


def test_zero_decoder_does_not_break_the_gradient(pair):
    with torch.no_grad():
        pair.W_dec.zero_()
    pair.loss(torch.ones(1, 2, 2), 2.0).total.backward()
    assert all(p.grad.isfinite().all() for p in pair.parameters())


def test_directions_are_in_the_models_own_units(pair):
    pair.scales.copy_(torch.tensor([2.0, 0.5]))
    assert pair.directions()[:, 0].tolist() == [[1.5, 2.0], [12.0, 16.0]]


def test_file_round_trip_of_weights_scales_and_metadata(tmp_path):
    metadata = {"models": ["base", "rl-5"], "layer": 2, "config": {"beta": 2.0}}
    crosscoder = Crosscoder(2, 4, 6, metadata=metadata)
    crosscoder.scales.copy_(torch.tensor([0.5, math.pi]))
    crosscoder.save(tmp_path / "c.safetensors")
    loaded = Crosscoder.load(tmp_path / "c.safetensors")
    assert loaded.models == ["base", "rl-5"] and loaded.metadata == metadata
    for name, value in crosscoder.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    models, W_dec = read_decoder(tmp_path / "c.safetensors")
    assert models == ["base", "rl-5"] and torch.equal(W_dec, crosscoder.W_dec)


def test_same_crosscoder_gives_the_same_bytes(tmp_path):
    crosscoder = Crosscoder(2, 4, 6, metadata={key: key for key in "fabcdeéghi"})
    contents = set()
    for i in range(5):
        crosscoder.save(tmp_path / f"{i}.safetensors")
        contents.add((tmp_path / f"{i}.safetensors").read_bytes())
    assert len(contents) == 1
    assert Crosscoder.load(tmp_path / "0.safetensors").metadata == crosscoder.metadata


def test_damaged_file_is_a_one_line_error(tmp_path):
    path = tmp_path / "c.safetensors"
    with pytest.raises(InputError, match="c.safetensors: this file cannot be loaded"):
        Crosscoder.load(path)
    Crosscoder(2, 4, 6).save(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="c.safetensors: this file cannot be loaded"):
        Crosscoder.load(path)
