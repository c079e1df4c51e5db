"""Prepacked linear layers give the products of plain ones."""

import pytest
import torch

from crosslens.models.prepacked_linear import MIN_WIDTH, PrepackedLinear, prepack


def network(width, *, bias=False):
    torch.manual_seed(0)
    wide = torch.nn.Linear(width, 2 * width, bias=bias)
    return torch.nn.Sequential(wide, torch.nn.SiLU(), torch.nn.Linear(2 * width, width, bias=bias))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(3, 5), (15,), (2, 5), (1, 1)])
@torch.inference_mode()
def test_products_equal_the_plain_layers_for_any_number_of_rows(shape, bias):
    x, plain = torch.randn(*shape, MIN_WIDTH), network(MIN_WIDTH, bias=bias)
    packed = prepack(network(MIN_WIDTH, bias=bias), rows=15)
    kinds = [isinstance(packed[i], PrepackedLinear) for i in (0, 2)]
    assert kinds == 2 * [torch.backends.mkl.is_available()]
    torch.testing.assert_close(packed(x), plain(x), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_rows_need_not_be_contiguous():
    x = torch.randn(MIN_WIDTH, 15).T
    packed, plain = prepack(network(MIN_WIDTH), rows=15), network(MIN_WIDTH)
    torch.testing.assert_close(packed(x), plain(x), rtol=1e-5, atol=1e-5)


def test_layers_that_gain_nothing_are_not_replaced():
    for stays in (network(MIN_WIDTH - 1), network(MIN_WIDTH).bfloat16()):
        assert type(prepack(stays, rows=15)[0]) is torch.nn.Linear
