"""BatchTopK's step: the kept set by hand and by sorting, gradients by autograd, ties, bounds."""

import copy
from unittest.mock import patch

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_kernels import SIZES, by_autograd, problem, scales, trainer_of

from crosslens.crosscoder.kernels.parameter_matrices import NAMES
from crosslens.crosscoder.kernels.train_step import DEAD_INTERVAL, Moments, StepSettings, TrainStep
from crosslens.crosscoder.model import Crosscoder


def kept_of(crosscoder, x, keep):
    """Return which entries are kept, by a stable sort over the batch."""
    v = crosscoder.encode(x) * crosscoder.decoder_norms()
    order = torch.argsort(v.flatten(), descending=True, stable=True)
    kept = torch.zeros(v.numel(), dtype=torch.bool)
    kept[order[:keep]] = True
    return (kept.reshape(v.shape) & (v > 0)).detach()


def reference(crosscoder, x, keep):
    """Return f, errors and gradients by autograd."""
    f = crosscoder.encode(x) * kept_of(crosscoder, x, keep)
    error = (x - crosscoder.decode(f)).square().sum(dim=2).mean(dim=0)
    error.sum().backward()
    return f.detach(), error.detach(), {name: p.grad for name, p in crosscoder.named_parameters()}


def topk_trainer(crosscoder, size, screened=False):
    with patch.object(torch.cpu, "_is_avx512_bf16_supported", return_value=screened):
        trainer = trainer_of(crosscoder, size, "sparse")
    if screened:
        trainer.kernels.choose_screening(0.0, trainer.weights)
    return trainer


def check(trainer, crosscoder, x, keep):
    f, error, expected = reference(copy.deepcopy(crosscoder), x, keep)
    stats = trainer.gradients(x, 0.0, keep)
    assert torch.equal(stats.active, (f > 0).any(dim=0))
    assert stats.l0.item() == pytest.approx((f > 0).sum().item() / len(x))
    torch.testing.assert_close(stats.error, error, rtol=1e-5, atol=1e-6)
    for matrix in (trainer.gradient.W_dec, trainer.gradient.W_enc):
        matrix[~stats.active] = 0
    scale = scales(crosscoder, x[:40], 0.0, by_autograd(copy.deepcopy(crosscoder), x, 0.0)[1])
    # An error near 0, x minus nearly x, keeps the rounding of x.
    rounding = 2 * torch.finfo(x.dtype).eps * x.norm() * max(f.norm(), x.norm())
    for name, found in trainer.gradient.parameters(len(crosscoder.W_dec)).items():
        bound = max(1e-5 * max(scale[name], expected[name].norm()), rounding)
        assert (found - expected[name]).norm() <= bound, name
    return stats


def test_the_kept_set_of_worked_numbers():
    """v = [[1, 1.5, 0], [.2, 2.7, .6]]: by f alone (0, 0) would stay, by v it is (0, 1) and
    (1, 1). The threshold is 1.5."""
    crosscoder = Crosscoder(2, 2, 3)
    with torch.no_grad():
        crosscoder.W_enc.zero_()
        crosscoder.W_enc[0] = torch.tensor([[1.0, 0.5, -1.0], [0.2, 0.9, 0.6]])
        crosscoder.W_dec.zero_()
        crosscoder.W_dec[0, :, 0] = torch.tensor([0.5, 1.0, 0.5])
        crosscoder.W_dec[1, :, 1] = torch.tensor([0.5, 2.0, 0.5])
    x = torch.stack([torch.eye(2), torch.zeros(2, 2)], dim=1)
    assert kept_of(crosscoder, x, 2).nonzero().tolist() == [[0, 1], [1, 1]]
    stats = check(topk_trainer(crosscoder, 2), crosscoder, x, keep=2)
    assert stats.active.tolist() == [False, True, False]
    assert stats.threshold.item() == pytest.approx(1.5)


@pytest.mark.slow
@pytest.mark.parametrize("screened", [False, True])
@settings(max_examples=30, deadline=None)
@given(
    **SIZES,
    share=st.sampled_from([0.0, 0.01, 0.1, 0.4, 1.0]),
)
@example(n=1, d=1, k=1, size=1, seed=524, share=0.0)  # its error is nearly 0
def test_kept_set_and_gradients_equal_autograds(screened, n, d, k, size, seed, share):
    """From a single entry to all that are positive, in three batches whose scales differ: the
    bounds that earlier batches suggest are too high, too low, or right."""
    crosscoder, x = problem(n, d, k, size, seed, bias=-0.5)
    trainer = topk_trainer(crosscoder, size, screened)
    for scale in (1.0, 0.3, 2.0):
        check(trainer, crosscoder, scale * x, max(1, round(share * size * k)))


def tied_problem():
    """Return a problem in which features 2 to 9 are equal, and rows 3 to 7."""
    crosscoder, x = problem(2, 6, 12, 9, seed=0, bias=0.0)
    with torch.no_grad():
        for parameter, axis in ((crosscoder.W_enc, 2), (crosscoder.W_dec, 1)):
            parameter.copy_(parameter.index_select(axis, torch.tensor([0, 1, *[2] * 8, 10, 11])))
        crosscoder.b_enc[2:10] = 5.0
    x[3:8] = x[3]
    return crosscoder, x


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_of_equal_entries_the_first_are_kept_with_any_number_of_threads(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    crosscoder, x = tied_problem()
    for keep in (1, 10, 17, 30, 52):
        check(topk_trainer(crosscoder, 9), crosscoder, x, keep)
    torch.set_num_threads(before)


def test_rescaling_a_feature_changes_no_choice():
    crosscoder, x = problem(2, 8, 20, 30, seed=3, bias=0.0)
    before = kept_of(crosscoder, x, 60)
    with torch.no_grad():
        crosscoder.W_enc[:, :, 4] *= 16
        crosscoder.b_enc[4] *= 16
        crosscoder.W_dec[:, 4] /= 16
    assert torch.equal(kept_of(crosscoder, x, 60), before)
    check(topk_trainer(crosscoder, 30), crosscoder, x, 60)


def test_a_feature_without_a_decoder_is_never_kept():
    crosscoder, x = problem(2, 8, 20, 30, seed=3, bias=3.0)
    with torch.no_grad():
        crosscoder.W_dec[:, 4] = 0
    trainer = topk_trainer(crosscoder, 30)
    for keep in (10, 590, 600):
        assert not check(trainer, crosscoder, x, keep).active[4]


def test_updates_are_adams_on_the_clipped_gradient():
    crosscoder, _ = problem(2, 8, 24, 10, seed=3, bias=-1.0)
    theirs = copy.deepcopy(crosscoder)
    plain = torch.optim.Adam(theirs.parameters(), lr=5e-3, betas=(0.9, 0.999))
    trainer = topk_trainer(crosscoder, 10)
    for step in range(10):
        x = torch.randn(10, 2, 8) * (10 if step % 2 else 0.01)
        trainer.take(x, 0.0, 5e-3, step, keep=40)
        plain.zero_grad()
        reference(theirs, x, 40)
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        plain.step()
    for name in NAMES:
        torch.testing.assert_close(
            getattr(crosscoder, name), getattr(theirs, name), rtol=1e-4, atol=1e-5
        )


def with_auxiliary(crosscoder, x, keep, dead, settings):
    """Compute gradients of the loss and the auxiliary loss by autograd."""
    f = crosscoder.encode(x)
    x_hat = crosscoder.decode(f * kept_of(crosscoder, x, keep))
    norms = crosscoder.decoder_norms().detach()
    rank = torch.full_like(f, -1.0)
    rank[:, dead] = (f * norms).detach()[:, dead]
    count = min(settings.auxiliary_features, len(dead))
    chosen = torch.zeros_like(f).scatter_(1, rank.topk(count, dim=1).indices, 1.0)
    rest = (x - x_hat).detach() - (crosscoder.decode(f * chosen) - crosscoder.b_dec)
    loss = (x - x_hat).square().sum() + settings.auxiliary_weight * rest.square().sum()
    (loss / len(x)).backward()


@pytest.mark.parametrize("count", [3, 50])
def test_dead_features_learn_the_others_error(count):
    check_auxiliary(count, steps=4)


def check_auxiliary(count, steps):
    """Check the auxiliary loss: some dead features are silent, some are kept in this very batch."""
    crosscoder, _ = problem(2, 8, 24, 30, seed=3, bias=-1.0)
    with torch.no_grad():
        crosscoder.b_enc[::6] -= 5
    theirs, dead = copy.deepcopy(crosscoder), torch.arange(0, 24, 3)
    plain = torch.optim.Adam(theirs.parameters(), lr=5e-3, betas=(0.9, 0.999))
    chosen = StepSettings(
        (0.9, 0.999), 1.0, path="sparse", auxiliary_weight=0.3, auxiliary_features=count
    )
    trainer = TrainStep(crosscoder, Moments.zero(crosscoder), 30, chosen)
    trainer.dead = dead
    for step in range(steps):
        x = torch.randn(30, 2, 8)
        kept = kept_of(crosscoder, x, 40).any(dim=0)[dead]
        assert kept.any() and not kept.all()
        trainer.take(x, 0.0, 5e-3, step, keep=40)
        plain.zero_grad()
        with_auxiliary(theirs, x, 40, dead, chosen)
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        plain.step()
    for name in NAMES:
        torch.testing.assert_close(
            getattr(crosscoder, name), getattr(theirs, name), rtol=1e-4, atol=1e-5
        )


def test_features_not_kept_for_some_steps_are_dead():
    crosscoder, x = problem(1, 4, 6, 10, seed=1, bias=0.0)
    with torch.no_grad():
        crosscoder.b_enc[2] = -1e6
    chosen = StepSettings((0.9, 0.999), 1.0, path="sparse", auxiliary_weight=0.1, dead_steps=20)
    last_kept = torch.zeros(6, dtype=torch.int64)
    trainer = TrainStep(crosscoder, Moments.zero(crosscoder), 10, chosen, last_kept)
    for step in range(40):
        trainer.take(x, 0.0, 0.0, step, keep=60)
        assert (trainer.dead is None) == (step < 2 * DEAD_INTERVAL)
    assert trainer.dead.tolist() == [2] and last_kept[2] == 0 and last_kept.max() == 40
