"""Latent scaling: worked numbers, least squares written out, planted concepts by error rates."""

import numpy as np
import pytest
import torch

from crosslens.analysis.latent_scaling import (
    RARE,
    TOO_RARE,
    UNDECIDED,
    Scaling,
    ScalingSums,
    debiased,
    patterns,
)
from crosslens.crosscoder.heldout import Batch, Entries, reconstruct
from crosslens.crosscoder.model import Crosscoder

TRIO = ["base", "sft-5", "rl-5"]


def with_decoder(W_dec, b_dec=None):
    """Return a crosscoder with this decoder; f is given, so that its encoder does not matter."""
    n, k, d = W_dec.shape
    crosscoder = Crosscoder(n, d, k, metadata={"models": TRIO[:n]})
    with torch.no_grad():
        crosscoder.W_dec.copy_(W_dec)
        if b_dec is not None:
            crosscoder.b_dec.copy_(b_dec)
    return crosscoder


def batch_of(crosscoder, x, f):
    entries = Entries.of(f)
    x_hat = reconstruct(crosscoder, entries, len(x)).detach()
    return Batch(x, f, entries, x_hat, torch.arange(len(x)))


def scaling_of(crosscoder, x, f, parts=2):
    sums = ScalingSums(crosscoder)
    for rows in torch.arange(len(x)).tensor_split(parts):
        sums.add(batch_of(crosscoder, x[rows], f[rows]))
    return sums.scaling()


def toy(strengths=(0.5, 1.0, 2.0)):
    """Section 1 of the toy: feature 0 points along the first axis, feature 1 along the second."""
    f = torch.tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 1.0]])
    W_dec = torch.zeros(3, 2, 2)
    W_dec[:, 1, 1] = 1.0
    W_dec[:, 0, 0] = torch.tensor([0.0, 1.0, 2.0])
    x = torch.stack([f @ torch.tensor([[s, 0.0], [0.0, 1.0]]) for s in strengths], dim=1)
    return with_decoder(W_dec), x, f


def test_a_shrunk_decoder_of_worked_numbers():
    """Base's decoder is zero, so MAS_O is 0; a quarter of the feature is in base all the same."""
    scaling = scaling_of(*toy())
    assert scaling.firings.tolist() == [2, 2] and scaling.probe[0] == 2
    torch.testing.assert_close(scaling.beta_error[:, 0].tolist(), [0.25, 0.5, 1.0])
    torch.testing.assert_close(scaling.beta_reconstruction[:, 0].tolist(), [0.0, 0.5, 1.0])
    torch.testing.assert_close(scaling.beta_activation[:, 0].tolist(), [0.25, 0.5, 1.0])
    torch.testing.assert_close(scaling.rho[:, 0].tolist(), [0.0, 0.5, 1.0])
    assert (scaling.nu_error[0, 0], scaling.nu_reconstruction[0, 0]) == (0.25, 0.0)


def test_a_decoupled_feature_of_worked_numbers():
    """Another feature fires together with feature 0 and writes it into base."""
    crosscoder, x, f = toy()
    f = torch.cat([f, f[:, :1]], dim=1)
    W_dec = torch.cat([crosscoder.W_dec.detach(), torch.zeros(3, 1, 2)], dim=1)
    W_dec[0, 2, 0] = 2.0
    x[:, 0] = f[:, :2] @ torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    scaling = scaling_of(with_decoder(W_dec), x, f)
    assert (scaling.nu_error[0, 0], scaling.nu_reconstruction[0, 0]) == (0.0, 1.0)


def by_least_squares(crosscoder, x, f):
    """Return the three betas of every feature and model, each by a regression of its own."""
    x_hat, W_dec = crosscoder.decode(f).detach(), crosscoder.W_dec.detach()
    n, k, _ = W_dec.shape
    betas = np.empty((3, n, k))
    for j in range(k):
        u = W_dec[W_dec[:, j].norm(dim=1).argmax(), j]
        regressor = torch.outer(f[:, j], u).flatten()[:, None].numpy()
        for i in range(n):
            own = torch.outer(f[:, j], W_dec[i, j])
            offset = crosscoder.b_dec.detach()[i]
            targets = x[:, i] - x_hat[:, i] + own, x_hat[:, i] - offset, x[:, i] - offset
            for which, target in enumerate(targets):
                betas[which, i, j] = np.linalg.lstsq(regressor, target.flatten().numpy())[0][0]
    return betas


@pytest.mark.parametrize("n", [1, 2, 3])
def test_betas_are_the_least_squares_solutions_and_obey_their_identity(n):
    generator = torch.Generator().manual_seed(n)
    f = torch.rand(60, 5, generator=generator) * (torch.rand(60, 5, generator=generator) < 0.3)
    W_dec = torch.randn(n, 5, 7, generator=generator)
    crosscoder = with_decoder(W_dec, torch.randn(n, 7, generator=generator))
    x = crosscoder.decode(f).detach() + 0.5 * torch.randn(60, n, 7, generator=generator)
    scaling = scaling_of(crosscoder, x, f, parts=3)
    found = [scaling.beta_error, scaling.beta_reconstruction, scaling.beta_activation]
    expected = by_least_squares(crosscoder, x, f)
    np.testing.assert_allclose(torch.stack(found).numpy(), expected, rtol=1e-4, atol=1e-5)
    by_parts = scaling.beta_reconstruction + scaling.beta_error - scaling.rho
    torch.testing.assert_close(scaling.beta_activation, by_parts)


def test_rescaling_a_feature_changes_no_ratio():
    """The loss leaves the scale of f free: f times c and its decoder over c."""
    crosscoder, x, f = toy()
    before = scaling_of(crosscoder, x, f)
    f[:, 0] *= 10
    with torch.no_grad():
        crosscoder.W_dec[:, 0] /= 10
    after = scaling_of(crosscoder, x, f)
    for name in ("nu_error", "nu_reconstruction", "nu_activation", "rho"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name))


def test_standard_errors_are_the_spread_over_draws():
    generator = torch.Generator().manual_seed(0)
    crosscoder = with_decoder(torch.tensor([[[1.0, 0.0]], [[2.0, 0.0]]]))
    found, errors = [], []
    for _ in range(200):
        f = 1 + torch.rand(50, 1, generator=generator)
        x = crosscoder.decode(f).detach() + torch.randn(50, 2, 2, generator=generator)
        scaling = scaling_of(crosscoder, x, f)
        found.append(scaling.beta_error)
        errors.append(scaling.stderr)
    spread = torch.stack(found).std(dim=0)
    torch.testing.assert_close(torch.stack(errors).mean(dim=0), spread, rtol=0.15, atol=0)


def test_shares_without_shrinkage():
    """The worked pair: contributions of 3 and 1, whose NRN is 1 where L1 took base's; a negative
    beta counts as none."""
    beta = torch.tensor([[0.357, -0.1, -1.0], [1.429, 0.5, -1.0]])
    assert debiased(beta)[:, 0].tolist() == pytest.approx([0.2, 0.8], abs=1e-3)
    assert debiased(beta)[:, 1].tolist() == [0.0, 1.0]
    assert debiased(beta)[:, 2].isnan().all()


def test_a_feature_that_never_fires_has_no_betas():
    crosscoder, x, f = toy()
    f[:, 1] = 0
    scaling = scaling_of(crosscoder, x, f)
    assert scaling.firings.tolist() == [2, 0]
    assert scaling.beta_error[:, 1].isnan().all() and not scaling.beta_error[:, 0].isnan().any()
    assert patterns(scaling, TRIO) == [TOO_RARE, TOO_RARE]


def classified(error, reconstruction, activation, firings=RARE):
    """Return the pattern of a feature of RL's with these ratios of base and SFT."""
    columns = [torch.tensor([[*ratios, 1.0]]).T for ratios in (error, reconstruction, activation)]
    one = torch.tensor([firings]), torch.tensor([2])
    nothing = torch.zeros(3, 1)
    return patterns(Scaling(*one, *columns, nothing, nothing), TRIO)[0]


def test_patterns_of_presence():
    assert classified((0.1, 0.1), (0.1, 0.4), (0.1, 0.3)) == "rl-5"
    assert classified((0.1, 0.9), (0.1, 0.9), (0.1, 0.9)) == "sft-5+rl-5"
    assert classified((0.9, 0.9), (0.9, 0.9), (0.9, 0.9)) == "base+sft-5+rl-5"
    assert classified((0.3, 0.9), (0.1, 0.9), (0.4, 0.9)) == UNDECIDED
    assert classified((-0.9, 0.1), (0.9, 0.1), (0.1, 0.1)) == UNDECIDED
    assert classified((0.1, 0.1), (0.1, 0.1), (0.1, 0.1), firings=RARE - 1) == TOO_RARE


def shrunk_by_l1(f, x, beta, sweeps=15):
    """Return the decoder that minimizes Eq. 3 at fixed f: a group lasso, by blocks."""
    W_dec = torch.zeros(x.shape[1], f.shape[1], x.shape[2])
    square, total = f.square().sum(dim=0), f.sum(dim=0)
    gram, product = f.T @ f, torch.einsum("tk,tnd->nkd", f, x)
    for _ in range(sweeps):
        for k in range(f.shape[1]):
            rest = torch.einsum("j,njd->nd", gram[k], W_dec) - gram[k, k] * W_dec[:, k]
            best = (product[:, k] - rest) / square[k]
            norm = best.norm(dim=1, keepdim=True)
            W_dec[:, k] = best * (1 - beta / 2 * total[k] / square[k] / norm).clamp(min=0)
    return W_dec


def planted(seed):
    """Twelve concepts of RL, of which base has the first four, a third of the next, none of the
    last; the decoder is that of the loss's optimum."""
    generator = torch.Generator().manual_seed(seed)
    f = 1 + torch.rand(3000, 12, generator=generator)
    f *= torch.rand(3000, 12, generator=generator) < 0.15
    directions = torch.nn.functional.normalize(torch.randn(12, 24, generator=generator), dim=1)
    strength = torch.tensor([[1.6] * 4 + [0.55] * 4 + [0.0] * 4, [1.6] * 12])
    x = torch.einsum("tk,nk,kd->tnd", f, strength, directions)
    x += 0.2 * torch.randn(x.shape, generator=generator)
    return with_decoder(shrunk_by_l1(f, x, beta=2.0)), x, f


def test_only_what_base_lacks_is_found_specific():
    """In 30 draws of four concepts each: NRN says the same of the absent and of the shrunk ones;
    by latent scaling at most 2% of either are misjudged."""
    absent, shrunk, shared = [], [], []
    for seed in range(30):
        crosscoder, x, f = planted(seed)
        norms = crosscoder.W_dec.detach().norm(dim=2)
        scaling = scaling_of(crosscoder, x, f, parts=1)
        nrn, corrected = norms[1] / norms.sum(dim=0), debiased(scaling.beta_error)[1]
        assert (nrn[4:] > 0.95).all()
        found = list(zip(patterns(scaling, ["base", "rl-5"]), corrected.tolist(), strict=True))
        for group, four in ((shared, found[:4]), (shrunk, found[4:8]), (absent, found[8:])):
            group += four
    assert np.mean([p == "rl-5" and share > 0.9 for p, share in absent]) >= 0.98
    assert np.mean([p == "rl-5" or share > 0.9 for p, share in shrunk]) <= 0.02
    assert np.mean([p == "base+rl-5" and share < 0.55 for p, share in shared]) >= 0.98
    assert np.mean([share for _, share in shrunk]) == pytest.approx(1.6 / 2.15, abs=0.02)
