"""On every path gradients equal autograd's, updates equal PyTorch's, and bits repeat."""

import copy
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslens.crosscoder.kernels import path_selector
from crosslens.crosscoder.kernels.parameter_matrices import NAMES, weights_of
from crosslens.crosscoder.kernels.train_step import Moments, StepSettings, TrainStep
from crosslens.crosscoder.model import Crosscoder

BETAS = (0.9, 0.999)
SIZES = {
    "n": st.integers(1, 4),
    "d": st.integers(1, 40),
    "k": st.integers(1, 70),
    "size": st.integers(1, 40),
    "seed": st.integers(0, 1000),
}  # of `problem`


def problem(n, d, k, size, seed, bias):
    """Return a crosscoder and a batch; fewer features fire with a lower encoder bias."""
    generator = torch.Generator().manual_seed(seed)
    crosscoder = Crosscoder(n, d, k, seed=seed, decoder_norm=1.0)
    with torch.no_grad():
        for p in crosscoder.parameters():
            p += 0.3 * torch.randn(p.shape, generator=generator)
        crosscoder.b_enc += bias
    return crosscoder, torch.randn(size, n, d, generator=generator)


def trainer_of(crosscoder, size, path, dtype=torch.float32):
    return TrainStep(
        crosscoder, Moments.zero(crosscoder), size, StepSettings(BETAS, 1.0, dtype, path)
    )


def by_autograd(crosscoder, x, beta):
    loss = crosscoder.loss(x, beta)
    loss.total.backward()
    return loss, {name: p.grad for name, p in crosscoder.named_parameters()}


def by_path(crosscoder, x, beta, path):
    """Return statistics and gradients, with zeros for inactive features.

    Whether the sparse path screens does not depend on the processor.
    """
    screened, path = path == "screened", path.replace("screened", "sparse")
    with patch.object(torch.cpu, "_is_avx512_bf16_supported", return_value=screened):
        trainer = trainer_of(crosscoder, len(x), path)
    if screened:
        trainer.kernels.choose_screening(0.0, trainer.weights)
    stats = trainer.gradients(x, beta)
    gradient = trainer.gradient
    for matrix in (gradient.W_dec, gradient.W_enc):
        matrix[~stats.active] = 0
    return stats, gradient.parameters(len(crosscoder.W_dec))


def scales(crosscoder, x, beta, gradients):
    """Return the norms of the gradients, or the mean norm per row where rows cancel out."""
    rows = [by_autograd(copy.deepcopy(crosscoder), row[None], beta)[1] for row in x]
    terms = {name: sum(r[name].norm() for r in rows) / len(x) for name in NAMES}
    return {name: max(gradients[name].norm(), terms[name]) for name in NAMES}


def check_equal(crosscoder, x, beta, path):
    loss, expected = by_autograd(copy.deepcopy(crosscoder), x, beta)
    exact = by_autograd(copy.deepcopy(crosscoder).double(), x.double(), beta)[1]
    scale = scales(crosscoder, x[:40], beta, expected)
    stats, gradients = by_path(crosscoder, x, beta, path)
    for name in NAMES:
        own = (
            expected[name] - exact[name]
        ).norm()  # what float32 costs autograd, where much cancels
        assert (gradients[name] - expected[name]).norm() <= max(1e-5 * scale[name], 4 * own), name
    total = stats.error.sum() + beta * stats.sparsity
    torch.testing.assert_close(total, loss.total.detach(), rtol=1e-5, atol=0)
    error = (x - loss.x_hat).square().sum(dim=2).mean(dim=0).detach()
    torch.testing.assert_close(stats.error, error, rtol=1e-5, atol=1e-6)
    assert torch.equal(stats.active, (loss.f > 0).any(dim=0))
    assert stats.l0.item() == pytest.approx((loss.f > 0).sum().item() / len(x))
    norm_sq = sum(g.square().sum() for g in expected.values())
    atol = 1e-5 * sum(s**2 for s in scale.values()).item()
    torch.testing.assert_close(stats.grad_norm_sq, norm_sq, rtol=2e-5, atol=atol)


@pytest.mark.parametrize("path", ["sparse", "screened", "dense"])
@settings(max_examples=60, deadline=None)
@given(
    **SIZES,
    bias=st.sampled_from([-9.0, -3.0, -1.0, 0.0, 30.0]),
    beta=st.sampled_from([0.0, 2.0]),
)
def test_loss_and_gradients_equal_autograd(path, n, d, k, size, seed, bias, beta):
    """From no feature on any row to every feature on every row."""
    crosscoder, x = problem(n, d, k, size, seed, bias)
    check_equal(crosscoder, x, beta, path)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("path", ["sparse", "screened", "dense"])
def test_empty_rows_dead_features_and_full_rows(path, threads):
    """Row 0 fires no feature, row 1 all; feature 5 is dead, feature 6 has a zero decoder."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    crosscoder, x = problem(3, 16, 50, 20, seed=0, bias=-2.0)
    with torch.no_grad():
        crosscoder.b_enc.fill_(-0.5)
        crosscoder.W_enc[:, 0] = 1.0
        crosscoder.b_enc[5] = -1e6
        crosscoder.W_dec[:, 6] = 0.0
    x[0], x[1, :, 0] = 0.0, 100.0
    f = crosscoder.encode(x)
    assert not f[0].any() and (f[1] > 0).sum() == 49 and not f[:, 5].any() and f[:, 6].any()
    check_equal(crosscoder, x, 2.0, path)
    torch.set_num_threads(before)


@pytest.mark.parametrize("path", ["sparse", "screened"])
def test_gradients_equal_autograd_at_the_benchmarked_size(path):
    crosscoder, x = problem(2, 256, 4096, 256, seed=1, bias=-15.0)
    assert 0.001 < (crosscoder.encode(x) > 0).float().mean() < 0.2
    check_equal(crosscoder, x, 2.0, path)


def test_screening_keeps_entries_that_rounding_makes_negative():
    """The worst case: every number is rounded as far as possible and in the same direction.

    The bias leaves slightly positive or slightly negative pre-activations.
    """
    crosscoder, x = problem(2, 32, 50, 20, seed=0, bias=0.0)
    down, up = 1 + 2**-8, 1 + 3 * 2**-8  # to 1 and to 1 + 4 * 2**-8
    exact = 32 * (down**2 - up**2)
    with torch.no_grad():
        x[:, 0], x[:, 1] = down, up
        crosscoder.W_enc[0], crosscoder.W_enc[1] = down, -up
        crosscoder.b_enc[:] = -exact + 1e-4
        crosscoder.b_enc[::3] = -exact - 1e-4
    assert (crosscoder.encode(x) > 0).sum() == 33 * 20
    rounded = (x.bfloat16().flatten(1) @ weights_of(crosscoder).W_enc.bfloat16().T).float()
    assert (rounded + crosscoder.b_enc < -0.4).all()
    check_equal(crosscoder, x, 2.0, "screened")


def test_screening_starts_at_low_density_and_stops_with_many_candidates():
    crosscoder, x = problem(2, 32, 96, 64, seed=4, bias=-12.0)
    with patch.object(torch.cpu, "_is_avx512_bf16_supported", return_value=True):
        trainer = trainer_of(crosscoder, 64, "sparse")
    assert trainer.kernels.screen is None
    screening = []
    for scale in (1.0, 2.0, 6.0):  # none, 1% and 22% of the features fire
        trainer.gradients(x * scale, 2.0)
        screening.append((trainer.kernels.screen.on, trainer.kernels.screen.limit))
    assert screening == [(True, 0.08), (True, 0.08), (False, 0.04)]


def check_updates(path, steps):
    """Compare some steps with PyTorch's Adam, clipped and not."""
    crosscoder, _ = problem(2, 8, 24, 10, seed=3, bias=-2.0)
    theirs = copy.deepcopy(crosscoder)
    plain = torch.optim.Adam(theirs.parameters(), lr=5e-3, betas=BETAS)
    trainer = trainer_of(crosscoder, 10, path)
    for step in range(steps):
        x = torch.randn(10, 2, 8) * (10 if step % 2 else 0.01)
        trainer.take(x, 2.0, 5e-3, step)
        plain.zero_grad()
        theirs.loss(x, 2.0).total.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        plain.step()
    for a, b in zip(crosscoder.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("path", ["sparse", "dense"])
def test_updates_equal_adam_on_the_clipped_gradient(path):
    check_updates(path, steps=10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_repeated_steps_give_the_same_bits(dtype):
    results = []
    for _ in range(2):
        crosscoder, x = problem(2, 32, 96, 64, seed=4, bias=-3.0)
        trainer = trainer_of(crosscoder, 64, "auto", dtype)
        for step in range(12):
            trainer.take(x, 2.0, 1e-2, step)
        results.append([p.detach().clone() for p in crosscoder.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_bfloat16_encoder_is_the_rounded_master_copy():
    crosscoder, x = problem(2, 32, 96, 64, seed=5, bias=-3.0)
    trainer = trainer_of(crosscoder, 64, "sparse", torch.bfloat16)
    for step in range(3):
        trainer.take(x, 2.0, 1e-2, step)
        assert trainer.W_enc_bf16.dtype == torch.bfloat16
        assert torch.equal(trainer.W_enc_bf16, weights_of(crosscoder).W_enc.bfloat16())


@pytest.mark.parametrize("path", ["sparse", "dense"])
def test_bfloat16_gradients_are_close_to_float32(path):
    crosscoder, x = problem(2, 32, 96, 64, seed=6, bias=-3.0)
    _, expected = by_autograd(copy.deepcopy(crosscoder), x, 2.0)
    trainer = trainer_of(crosscoder, 64, path, torch.bfloat16)
    active = trainer.gradients(x, 2.0).active
    trainer.gradient.W_dec[~active] = trainer.gradient.W_enc[~active] = 0
    for name, gradient in trainer.gradient.parameters(2).items():
        assert (gradient - expected[name]).norm() / expected[name].norm() < 0.05, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_path_follows_the_density_with_hysteresis(dtype):
    selector, sparse = path_selector.PathSelector("auto", "cpu", dtype), []
    enter, leave = path_selector.DENSITY_LIMITS["cpu", dtype]
    middle = (enter + leave) / 2
    for share in (0.5, middle, 0.01, middle, leave + 0.01, middle):
        selector.record(torch.tensor(share * 1000))
        selector.choose(1000)
        sparse.append(selector.sparse)
    assert sparse == [False, False, True, True, False, False]


def test_fixed_path_never_changes():
    for path in ("sparse", "dense"):
        selector = path_selector.PathSelector(path)
        for share in (0.0, 1.0):
            selector.record(torch.tensor(share * 1000))
            selector.choose(1000)
            assert selector.sparse == (path == "sparse")
