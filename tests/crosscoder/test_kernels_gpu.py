"""The Triton kernels in Triton's interpreter give the gradients and updates of the CPU.

They are also compiled for a GPU by the real compiler, which needs no GPU.
"""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_batch_topk import check, check_auxiliary, tied_problem
from test_kernels import by_autograd, check_equal, check_updates, problem, trainer_of

from benchmarks import model
from crosslens.crosscoder.kernels import train_step

os.environ["TRITON_INTERPRET"] = "1"  # read when the kernels are defined
from crosslens.crosscoder.kernels import selection_gpu, sparse_gpu  # noqa: E402

pytestmark = pytest.mark.slow
# Entries up to which gradients are computed again: none, the default, all.
STORED, DEFAULT, RECOMPUTED = 0, sparse_gpu.RECOMPUTE_MAX_ENTRIES, 10**6


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    """Compute with the GPU's kernels in this file."""
    monkeypatch.setattr(train_step, "sparse_kernels", sparse_gpu.SparseGpuKernels)


@pytest.fixture
def all_stored(monkeypatch):
    """Store all gradients, so that they can be compared."""
    monkeypatch.setattr(sparse_gpu, "RECOMPUTE_MAX_ENTRIES", STORED)


@pytest.mark.usefixtures("all_stored")
@pytest.mark.parametrize(
    ("n", "d", "k", "size", "bias"),
    [(1, 5, 40, 9, -2.0), (2, 8, 37, 17, -3.0), (3, 300, 6, 5, 0.0), (4, 7, 33, 70, -9.0)],
)
@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_loss_and_gradients_equal_autograd(n, d, k, size, bias, beta):
    """Widths are no powers of two and exceed a chunk or tile; some features fire on no row."""
    crosscoder, x = problem(n, d, k, size, seed=0, bias=bias)
    check_equal(crosscoder, x, beta, "sparse")


@pytest.mark.usefixtures("all_stored")
def test_rows_wider_than_one_block():
    crosscoder, x = problem(2, 700, 5, 4, seed=2, bias=0.0)
    check_equal(crosscoder, x, 2.0, "sparse")


@pytest.mark.usefixtures("all_stored")
@pytest.mark.parametrize("bias", [-1e6, 1e6])
def test_no_feature_and_every_feature(bias):
    crosscoder, x = problem(2, 6, 20, 18, seed=1, bias=0.0)
    with torch.no_grad():
        crosscoder.b_enc[::2] = bias
        crosscoder.W_dec[:, 4] = 0.0
    check_equal(crosscoder, x, 2.0, "sparse")


@pytest.mark.usefixtures("all_stored")
def test_batch_topk_keeps_the_largest_whatever_the_bound(monkeypatch):
    monkeypatch.setattr(selection_gpu, "BLOCK", 8)  # fewer than a row's entries
    crosscoder, x = problem(2, 3, 13, 5, seed=0, bias=0.5)
    trainer = trainer_of(crosscoder, len(x), "sparse")
    for scale, keep in ((1.0, 15), (0.3, 15), (1.0, 65)):
        check(trainer, crosscoder, scale * x, keep)
        assert (trainer.kernels.selection.bound > 0) == (keep < 65)


@pytest.mark.usefixtures("all_stored")
def test_of_equal_entries_the_first_are_kept(monkeypatch):
    monkeypatch.setattr(selection_gpu, "BLOCK", 4)
    crosscoder, x = tied_problem()
    check(trainer_of(crosscoder, len(x), "sparse"), crosscoder, x, 17)


def test_dead_features_learn_the_others_error():
    check_auxiliary(3, steps=2)


@pytest.mark.parametrize("limit", [STORED, DEFAULT, RECOMPUTED])
def test_sparse_updates_equal_adam_on_the_clipped_gradient(limit, monkeypatch):
    monkeypatch.setattr(sparse_gpu, "RECOMPUTE_MAX_ENTRIES", limit)
    check_updates("sparse", steps=2)  # the interpreter is slow


def test_dense_updates_equal_adam_on_the_clipped_gradient():
    check_updates("dense", steps=2)


def trained(limit, dtype, monkeypatch):
    """Return weights and moments after two steps, and each feature's entries in the last one."""
    monkeypatch.setattr(sparse_gpu, "RECOMPUTE_MAX_ENTRIES", limit)
    crosscoder, x = problem(2, 10, 16, 20, seed=4, bias=-2.0)
    with torch.no_grad():
        crosscoder.b_enc[:2] = torch.tensor([99.0, -1e6])  # on every row, on none
    trainer = trainer_of(crosscoder, len(x), "sparse", dtype)
    for step in range(2):
        trainer.take(x, 2.0, 1e-2, step)
    kept = [*trainer.weights, *trainer.moments.first, *trainer.moments.second]
    return [matrix.clone() for matrix in kept], trainer.kernels.feature_lengths


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_stored_and_recomputed_gradients_give_the_same_bits(dtype, monkeypatch):
    expected, entries = trained(STORED, dtype, monkeypatch)
    assert entries.min() == 0 and entries.max() == 20
    assert (entries[entries > 0] <= DEFAULT).any() and (entries > DEFAULT).sum() > 1
    for limit in (DEFAULT, RECOMPUTED):
        results, _ = trained(limit, dtype, monkeypatch)
        assert all(torch.equal(a, b) for a, b in zip(expected, results, strict=True))


def test_bfloat16_encoder_is_the_rounded_master_copy():
    crosscoder, x = problem(2, 8, 24, 10, seed=5, bias=-2.0)
    _, expected = by_autograd(copy.deepcopy(crosscoder), x, 2.0)
    trainer = trainer_of(crosscoder, 10, "sparse", torch.bfloat16)
    trainer.take(x, 2.0, 1e-2, 0)
    # One unit in the last place: the interpreter truncates where a GPU rounds.
    torch.testing.assert_close(
        trainer.W_enc_bf16.float(), trainer.weights.W_enc, rtol=2**-7, atol=0
    )
    assert (trainer.gradient.b_enc - expected["b_enc"]).norm() / expected["b_enc"].norm() < 0.05


@pytest.mark.usefixtures("all_stored")
def test_bfloat16_gradients_are_close_to_float32():
    crosscoder, x = problem(2, 8, 24, 10, seed=6, bias=-2.0)
    _, expected = by_autograd(copy.deepcopy(crosscoder), x, 2.0)
    trainer = trainer_of(crosscoder, 10, "sparse", torch.bfloat16)
    active = trainer.gradients(x, 2.0).active
    trainer.gradient.W_dec[~active] = trainer.gradient.W_enc[~active] = 0
    for name, gradient in trainer.gradient.parameters(2).items():
        assert (gradient - expected[name]).norm() / expected[name].norm() < 0.05, name


@pytest.mark.parametrize(
    "step", ["1 5 float32", "2 2560 bfloat16", "3 4096 bfloat16", "4 4096 float32"]
)
def test_every_kernel_compiles_for_a_gpu_without_spilled_registers(step, tmp_path):
    here = Path(__file__).parent
    environment = os.environ | {
        "TRITON_INTERPRET": "0",
        "TRITON_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(here.parents[1]),
    }
    command = [sys.executable, str(here / "compiling.py"), *step.split()]
    done = subprocess.run(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0
    kernels = [line.split() for line in done.stdout.splitlines()]
    assert {name for name, _, _ in kernels} == {
        "compress_rows", "compress_features", "decode", "decoder_gradients", "feature_sums",
        "encoder_gradients", "adam_of_features", "adam", "count_digits", "find_threshold",
        "count_ties", "keep_rows",
    }  # fmt: skip
    assert all(int(spilled) == 0 for _, _, spilled in kernels)


def test_cost_model_uses_the_built_threshold_and_stays_below_its_limit():
    assert model.RECOMPUTE_MAX_ENTRIES == sparse_gpu.RECOMPUTE_MAX_ENTRIES
    assert model.ratios()["gpu_step_over_encoder_and_adam_by_model"] <= 1.3
