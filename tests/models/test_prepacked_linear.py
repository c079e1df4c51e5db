"""Linear layers prepacked for MKL."""

import pytest
import torch

from crosslens.models.prepacked_linear import NARROW, PrepackedLinear, prepack


def network(width, *, bias=False):
    torch.manual_seed(0)
    wide = torch.nn.Linear(width, 2 * width, bias=bias)
    return torch.nn.Sequential(wide, torch.nn.SiLU(), torch.nn.Linear(2 * width, width, bias=bias))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(3, 5), (15,), (2, 5), (1, 1)])
@torch.inference_mode()
def test_products_are_those_of_the_linear_layers(shape, bias):
    """For the number of rows that was prepared, 15, and for any other."""
    x, plain = torch.randn(*shape, NARROW), network(NARROW, bias=bias)
    packed = prepack(network(NARROW, bias=bias), rows=15)
    kinds = [isinstance(packed[i], PrepackedLinear) for i in (0, 2)]
    assert kinds == 2 * [torch.backends.mkl.is_available()]
    torch.testing.assert_close(packed(x), plain(x), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_rows_that_are_not_contiguous():
    x = torch.randn(NARROW, 15).T
    packed, plain = prepack(network(NARROW), rows=15), network(NARROW)
    torch.testing.assert_close(packed(x), plain(x), rtol=1e-5, atol=1e-5)


def test_what_would_gain_nothing_stays_as_it_is():
    for stays in (network(NARROW - 1), network(NARROW).bfloat16()):
        assert type(prepack(stays, rows=15)[0]) is torch.nn.Linear
