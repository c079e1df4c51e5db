"""The Triton kernels in Triton's interpreter: the same gradients and updates as on a CPU. And
compiled for a GPU, which the interpreter is not: by the real compiler, which needs no GPU."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_kernels import by_autograd, check_equal, check_updates, problem, stepper

from benchmarks import model
from crosslens.crosscoder.kernels import train_step as stepping

os.environ["TRITON_INTERPRET"] = "1"  # read when the kernels are defined
from crosslens.crosscoder.kernels import sparse_gpu  # noqa: E402

KEPT, MIXED, SUMMED = 0, sparse_gpu.AGAIN, 10**6  # entries up to which gradients are summed again


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    """Every stepper of this file computes with the GPU's kernels."""

    monkeypatch.setattr(stepping, "engine", sparse_gpu.Gpu)


@pytest.fixture
def kept(monkeypatch):
    """All gradients are kept in memory, where they can be compared."""
    monkeypatch.setattr(sparse_gpu, "AGAIN", KEPT)


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("n", "d", "k", "size", "bias"),
    [(1, 5, 40, 9, -2.0), (2, 8, 37, 17, -3.0), (3, 300, 6, 5, 0.0), (4, 7, 33, 70, -9.0)],
)
@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_loss_and_gradients_equal_autograds(n, d, k, size, bias, beta):
    """Widths that are no power of two, of more than one chunk or tile, and features on no row."""
    crosscoder, x = problem(n, d, k, size, seed=0, bias=bias)
    check_equal(crosscoder, x, beta, "sparse")


@pytest.mark.usefixtures("kept")
def test_rows_wider_than_one_block():
    crosscoder, x = problem(2, 700, 5, 4, seed=2, bias=0.0)
    check_equal(crosscoder, x, 2.0, "sparse")


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("bias", [-1e6, 1e6])
def test_no_feature_and_every_feature(bias):
    crosscoder, x = problem(2, 6, 20, 18, seed=1, bias=0.0)
    with torch.no_grad():
        crosscoder.b_enc[::2] = bias
        crosscoder.W_dec[:, 4] = 0.0
    check_equal(crosscoder, x, 2.0, "sparse")


@pytest.mark.parametrize("again", [KEPT, MIXED, SUMMED])
def test_sparse_updates_are_adams_on_the_clipped_gradient(again, monkeypatch):
    monkeypatch.setattr(sparse_gpu, "AGAIN", again)
    check_updates("sparse", steps=2)  # the interpreter is slow


def test_dense_updates_are_adams_on_the_clipped_gradient():
    check_updates("dense", steps=2)


def trained(again, dtype, monkeypatch):
    """What two steps leave of weights and moments, and how often each feature fired at last."""
    monkeypatch.setattr(sparse_gpu, "AGAIN", again)
    crosscoder, x = problem(2, 10, 16, 20, seed=4, bias=-2.0)
    with torch.no_grad():
        crosscoder.b_enc[:2] = torch.tensor([99.0, -1e6])  # on every row, on none
    taking = stepper(crosscoder, len(x), "sparse", dtype)
    for step in range(2):
        taking.take(x, 2.0, 1e-2, step)
    kept = [*taking.weights, *taking.moments.first, *taking.moments.second]
    return [matrix.clone() for matrix in kept], taking.engine.of_feature


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_kept_or_summed_again_give_the_same_bits(dtype, monkeypatch):
    expected, entries = trained(KEPT, dtype, monkeypatch)
    assert entries.min() == 0 and entries.max() == 20
    assert (entries[entries > 0] <= MIXED).any() and (entries > MIXED).sum() > 1
    for again in (MIXED, SUMMED):
        found, _ = trained(again, dtype, monkeypatch)
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def test_the_bfloat16_encoder_is_the_rounded_master_copy():
    crosscoder, x = problem(2, 8, 24, 10, seed=5, bias=-2.0)
    _, expected = by_autograd(copy.deepcopy(crosscoder), x, 2.0)
    taking = stepper(crosscoder, 10, "sparse", torch.bfloat16)
    taking.take(x, 2.0, 1e-2, 0)
    # One unit in the last place: the interpreter cuts off where a GPU rounds.
    torch.testing.assert_close(taking.low.float(), taking.weights.W_enc, rtol=2**-7, atol=0)
    assert (taking.gradient.b_enc - expected["b_enc"]).norm() / expected["b_enc"].norm() < 0.05


@pytest.mark.usefixtures("kept")
def test_bfloat16_gradients_are_near_float32s():
    crosscoder, x = problem(2, 8, 24, 10, seed=6, bias=-2.0)
    _, expected = by_autograd(copy.deepcopy(crosscoder), x, 2.0)
    taking = stepper(crosscoder, 10, "sparse", torch.bfloat16)
    active = taking.gradients(x, 2.0).active
    taking.gradient.W_dec[~active] = taking.gradient.W_enc[~active] = 0
    for name, found in taking.gradient.parameters(2).items():
        assert (found - expected[name]).norm() / expected[name].norm() < 0.05, name


@pytest.mark.parametrize(
    "step", ["1 5 float32", "2 2560 bfloat16", "3 4096 bfloat16", "4 4096 float32"]
)
def test_every_launch_compiles_for_a_gpu_and_spills_no_register(step, tmp_path):
    here = Path(__file__).parent
    environment = os.environ | {
        "TRITON_INTERPRET": "0",
        "TRITON_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(here.parents[1]),
    }
    command = [sys.executable, str(here / "compiling.py"), *step.split()]
    said = subprocess.run(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    assert said.returncode == 0
    kernels = [line.split() for line in said.stdout.splitlines()]
    assert {name for name, _, _ in kernels} == {
        "compress_rows", "compress_features", "decode", "decoder_gradients", "feature_sums",
        "encoder_gradients", "adam_of_features", "adam",
    }  # fmt: skip
    assert all(int(spilled) == 0 for _, _, spilled in kernels)


def test_the_model_is_of_the_threshold_that_is_built_and_keeps_its_limit():
    assert model.AGAIN == sparse_gpu.AGAIN
    assert model.ratios()["gpu_step_over_encoder_and_adam_by_model"] <= 1.3
