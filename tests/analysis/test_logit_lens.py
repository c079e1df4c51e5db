"""The logit lens: a model's own final norm and unembedding, for each kind of norm."""

import pytest
import torch
from tiny_models import NETWORKS, tiny_network

from crosslens.analysis.logit_lens import gain, logit_lens
from crosslens.models.decoder import body_of, modules_after_layers
from crosslens.models.output_head import next_token_logits


@pytest.mark.parametrize("architecture", NETWORKS)
def test_the_order_is_that_of_the_network_itself(architecture: str) -> None:
    """Directions in place of the last stream, through the network's own norm and head."""
    network = tiny_network(architecture, pad_token_id=0)
    generator = torch.Generator().manual_seed(0)
    (norm,) = modules_after_layers(body_of(network)).values()
    with torch.no_grad():
        norm.weight.copy_(torch.rand(norm.weight.shape, generator=generator) + 0.1)
        directions = torch.randn(6, len(norm.weight), generator=generator)
        expected = next_token_logits(network, norm(directions[None])[0])
    lens = logit_lens(network, directions, count=5)
    assert lens.raised.tolist() == expected.topk(5).indices.tolist()
    assert lens.lowered.tolist() == expected.topk(5, largest=False).indices.tolist()
    assert (lens.up[:, 0] > 0).all()
    assert (lens.down[:, 0] < 0).all()


def test_without_the_gain_the_order_would_be_wrong() -> None:
    """Facts' worked example: W_U = 1, gain (1, 10), D = (1, 0.5) gives (1, 5): token 1."""
    network = tiny_network("llama", vocab_size=40)
    (norm,) = modules_after_layers(body_of(network)).values()
    width = len(norm.weight)
    with torch.no_grad():
        network.get_output_embeddings().weight.copy_(torch.eye(40, width))
        norm.weight.copy_(torch.tensor([1.0, 10.0] + [1.0] * (width - 2)))
    direction = torch.zeros(1, width)
    direction[0, :2] = torch.tensor([1.0, 0.5])
    lens = logit_lens(network, direction, count=2)
    assert lens.raised.tolist() == [[1, 0]]
    mean = 6 / 40
    assert lens.up.tolist() == [[pytest.approx(5 - mean), pytest.approx(1 - mean)]]


def test_gain_of_each_kind_of_norm() -> None:
    layer_norm = torch.nn.LayerNorm(4)
    with torch.no_grad():
        layer_norm.weight.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert gain(layer_norm, 4).tolist() == [1, 2, 3, 4]
    (norm,) = modules_after_layers(body_of(tiny_network("gemma2"))).values()
    assert gain(norm, len(norm.weight)).tolist() == pytest.approx((1 + norm.weight).tolist())
