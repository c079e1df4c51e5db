"""Latent scaling: worked numbers, least squares written out, planted concepts by error rates."""

from itertools import product

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
from crosslens.analysis.specificity import nrn
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


def closed_form(y, f, d):
    """Return beta = d'Y'f / (|f|^2 |d|^2) of one latent (Minder et al. 2025, arXiv:2504.02922)."""
    return (d @ (y.T @ f) / (f.square().sum() * d.square().sum())).item()


@pytest.mark.parametrize("planted", [False, True])
def test_betas_of_a_pair_are_the_published_closed_form(planted):
    """Targets as in the authors' program (sparsity-artifacts-crosscoders, tools/latent_scaler):
    d is the tuned model's, an error is the activation less the reconstruction without the latent.
    That program leaves the decoder's bias in reconstructions. Planted: base has a known part of
    each latent."""
    draw = torch.Generator().manual_seed(5)
    f = torch.rand(80, 6, generator=draw) * (torch.rand(80, 6, generator=draw) < 0.3)
    D = torch.randn(2, 6, 12, generator=draw) * torch.tensor([0.3, 1.0])[:, None, None]
    b, parts = torch.randn(2, 12, generator=draw), torch.linspace(-0.5, 2, 6)
    if planted:
        D[1] = 2 * torch.linalg.qr(torch.randn(12, 12, generator=draw)).Q[:6]
        x = torch.stack([f * parts @ D[1], f @ D[1]], dim=1) + b
    else:
        x = torch.randn(80, 2, 12, generator=draw) + b
    scaling = scaling_of(with_decoder(D, b), x, f)
    assert (scaling.probe == 1).all()
    f, D, x, b = f.double(), D.double(), x.double(), b.double()
    for i, k in product(range(2), range(6)):
        written, own = f @ D[i], torch.outer(f[:, k], D[i, k])
        targets = x[:, i] - (written - own + b[i]), written, x[:, i] - b[i]
        expected = [closed_form(y, f[:, k], D[1, k]) for y in targets]
        found = scaling.beta_error, scaling.beta_reconstruction, scaling.beta_activation
        assert [beta[i, k].item() for beta in found] == pytest.approx(expected, rel=1e-5, abs=1e-6)
        if planted:
            assert expected[2] == pytest.approx(1.0 if i else parts[k].item(), abs=1e-6)


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


def at_the_optimum(strengths, f=(1.0, 2.0, 0.0), beta=2.0):
    """Return one concept's crosscoder at the optimum of Eq. 3 with its activations and f.

    Model i has the concept with strength a_i: its activations are f a_i along the first axis. The
    encoder reads f from the last model.
    """
    f = torch.tensor(f)[:, None]
    x = torch.zeros(len(f), len(strengths), 2)
    x[:, :, 0] = f * torch.tensor(strengths)
    crosscoder = with_decoder(shrunk_by_l1(f, x, beta))
    with torch.no_grad():
        crosscoder.W_enc.zero_()
        crosscoder.W_enc[-1, 0, 0] = 1 / strengths[-1]
    return crosscoder, x, f


def test_l1_shrinks_every_decoder_by_the_same_length():
    """f = (1, 2, 0), beta = 2: T = 0.6, so that strengths .5, .7 and 2 leave norms 0, .1 and 1.4.
    There the loss has no gradient, and for the decoder of zero one that its penalty outweighs."""
    crosscoder, x, f = at_the_optimum((0.5, 0.7, 2.0))
    norms = crosscoder.W_dec.detach().norm(dim=2)[:, 0]
    torch.testing.assert_close(norms, torch.tensor([0.0, 0.1, 1.4]), atol=1e-6, rtol=0)
    loss = crosscoder.loss(x, 2.0)
    assert torch.equal(loss.f, f)
    loss.total.backward()
    gradient = crosscoder.W_dec.grad.norm(dim=2)[:, 0]
    assert gradient[1:].max() < 1e-6 and 0 < gradient[0] <= 2.0 * f.mean()


@pytest.mark.parametrize(
    ("base", "tuned", "shrunk", "true"),
    [(1.0, 3.0, 1.0, 0.75), (2.0, 5.0, 0.8, 0.714), (9.0, 10.0, 0.529, 0.526)],
)
def test_l1_moves_nrn_outward_and_latent_scaling_moves_it_back(base, tuned, shrunk, true):
    """Mean contributions to base and RL, weighted by f: each loses beta / 2 = 1."""
    unit = 3 / 5  # sum f / sum f^2: the strength of a contribution of 1
    crosscoder, x, f = at_the_optimum((base * unit, tuned * unit))
    norms = crosscoder.W_dec.detach().norm(dim=2)
    assert nrn(norms).item() == pytest.approx(shrunk, abs=5e-4)
    corrected = debiased(scaling_of(crosscoder, x, f).beta_error)[1]
    assert corrected.item() == pytest.approx(true, abs=5e-4)


def test_how_much_of_a_feature_a_decoder_of_zero_can_hide():
    """With T = 0.6 and |u| = 1.4, s = T / |u|: the longest decoder's beta is 1 + s, and a decoder
    is zero up to nu = s / (1 + s) = 0.3."""
    crosscoder, x, f = at_the_optimum((0.6, 0.601, 2.0))
    scaling = scaling_of(crosscoder, x, f)
    norms = crosscoder.W_dec.detach().norm(dim=2)[:, 0]
    assert norms[0] < 1e-6 < 5e-4 < norms[1]
    assert scaling.beta_error[2, 0].item() == pytest.approx(1 + 0.6 / 1.4, abs=1e-6)
    assert scaling.nu_error[0, 0].item() == pytest.approx(0.3, abs=1e-6)


def test_ratios_in_the_models_own_units():
    """nu is of scaled activations; without scales it is nu s_i* / s_j."""
    draw = torch.Generator().manual_seed(1)
    scales = torch.tensor([0.8, 1.25, 1.0])[:, None]
    f = torch.rand(50, 4, generator=draw) * (torch.rand(50, 4, generator=draw) < 0.5)
    W_dec = torch.randn(3, 4, 6, generator=draw) * torch.tensor([0.3, 0.5, 2.0])[:, None, None]
    x = torch.einsum("tk,nkd->tnd", f, W_dec) + 0.3 * torch.randn(50, 3, 6, generator=draw)
    scaled = scaling_of(with_decoder(W_dec), x, f)
    raw = scaling_of(with_decoder(W_dec / scales[:, None]), x / scales, f)
    assert (scaled.probe == 2).all() and torch.equal(raw.probe, scaled.probe)
    for name in ("nu_error", "nu_reconstruction", "nu_activation"):
        expected = getattr(scaled, name) * scales[2] / scales
        torch.testing.assert_close(getattr(raw, name), expected, atol=1e-5, rtol=1e-4)


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
