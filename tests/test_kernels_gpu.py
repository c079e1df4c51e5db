"""The Triton kernels in Triton's interpreter: the same gradients and updates as on a CPU."""

import copy
import os

import pytest
import torch
from test_kernels import by_autograd, check_equal, check_updates, problem, stepper

from crosslens.kernels import step as stepping

os.environ["TRITON_INTERPRET"] = "1"  # read when the kernels are defined
from crosslens.kernels.sparse_gpu import Gpu  # noqa: E402


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    """Every stepper of this file computes with the GPU's kernels."""

    def engine(size, d_sparse, D, models, device):
        return Gpu(size, d_sparse, D, models, device)

    monkeypatch.setattr(stepping, "engine", engine)


@pytest.mark.parametrize(
    ("n", "d", "k", "size", "bias"),
    [(1, 5, 40, 9, -2.0), (2, 8, 37, 17, -3.0), (3, 300, 6, 5, 0.0), (4, 7, 33, 70, -9.0)],
)
@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_loss_and_gradients_equal_autograds(n, d, k, size, bias, beta):
    """Widths that are no power of two, of more than one chunk or tile, and features on no row."""
    crosscoder, x = problem(n, d, k, size, seed=0, bias=bias)
    check_equal(crosscoder, x, beta, "sparse")


@pytest.mark.parametrize("bias", [-1e6, 1e6])
def test_no_feature_and_every_feature(bias):
    crosscoder, x = problem(2, 6, 20, 18, seed=1, bias=0.0)
    with torch.no_grad():
        crosscoder.b_enc[::2] = bias
        crosscoder.W_dec[:, 4] = 0.0
    check_equal(crosscoder, x, 2.0, "sparse")


@pytest.mark.parametrize("path", ["sparse", "dense"])
def test_updates_are_adams_on_the_clipped_gradient(path):
    check_updates(path, steps=2)  # the interpreter is slow


def test_the_bfloat16_encoder_is_the_rounded_master_copy():
    crosscoder, x = problem(2, 8, 24, 10, seed=5, bias=-2.0)
    _, expected = by_autograd(copy.deepcopy(crosscoder), x, 2.0)
    taking = stepper(crosscoder, 10, "sparse", torch.bfloat16)
    taking.take(x, 2.0, 1e-2, 0)
    # One unit in the last place: the interpreter cuts off where a GPU rounds.
    torch.testing.assert_close(taking.low.float(), taking.weights.W_enc, rtol=2**-7, atol=0)
    assert (taking.gradient.b_enc - expected["b_enc"]).norm() / expected["b_enc"].norm() < 0.05
