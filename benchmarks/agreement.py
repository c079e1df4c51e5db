"""BatchTopK's step against SAELens's BatchTopKTrainingSAE: same weights, activations, entries kept.

A crosscoder of n models is an SAE on the models' concatenated activations whose decoder bias is not
subtracted from its input: same pre-activations a, reconstruction and squared error. Two conventions
must be lined up.

- What is ranked. Crosslens keeps the largest v = ReLU(a_k) sum_i |D_k^i|; SAELens ranks by
  ReLU(a_k) |D_k|, with |D_k|^2 = sum_i |D_k^i|^2. Both orders are one where all features have the
  same shares |D_k^i| / |D_k|, as at the start of training: `theirs`. With other decoders the order
  differs, whatever the scale of a feature. So `ours` turns off SAELens's norms and gives it
  W_enc,k and b_k times n_k = sum_i |D_k^i|, and D_k / n_k: its pre-activation is then v.
- What the gradient goes through. Crosslens's passes no norm. In SAELens it passes |D_k| twice, as a
  factor and as a divisor, which cancel. With `ours`, n_k is a constant: a gradient of W_enc,k or
  b_k is n_k times SAELens's, and one of D_k is SAELens's over n_k.

Auxiliary loss: both take the error as constant, and the dead features with the largest v of a row.
SAELens fixes their number at half of its input's width, weights the loss by (number of dead
features) / (that number) up to 1, and applies no ReLU. So we set this number and this weight, and
the dead features have small positive pre-activations, as no ReLU changes these.

`kept` counts entries that only one side keeps. The rest are norms of differences over SAELens's
norms. The number of entries that are kept is near l0 times the rows, where v falls most: no ties.
A difference above 1e-5 ends the program with an error.
"""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from einops import rearrange

from crosslens.crosscoder.kernels.parameter_matrices import Matrices
from crosslens.crosscoder.kernels.train_step import Moments, StepSettings, TrainStep
from crosslens.crosscoder.model import Crosscoder

if TYPE_CHECKING:
    from sae_lens import BatchTopKTrainingSAE

TITLE = "Agreement with SAELens's BatchTopK"
LIMIT = 1e-5
WEIGHT = 0.5  # of the auxiliary loss


class Case(NamedTuple):
    """One problem; about `l0` features are kept a row, and `dead` ones learn the error."""

    n: int
    d_model: int
    d_sparse: int
    size: int
    l0: int
    dead: int
    convention: str

    @property
    def auxiliary_features(self) -> int:
        """Return how many dead features a row of SAELens uses."""
        return self.n * self.d_model // 2

    @property
    def auxiliary_weight(self) -> float:
        """Return the weight of SAELens's auxiliary loss."""
        return WEIGHT * min(1.0, self.dead / self.auxiliary_features)


CASES = (
    Case(1, 64, 512, 256, 8, 0, "theirs"),
    Case(2, 64, 1024, 512, 16, 0, "theirs"),
    Case(3, 48, 600, 300, 20, 40, "theirs"),
    Case(2, 64, 1024, 512, 16, 0, "ours"),
    Case(2, 256, 4096, 1024, 60, 200, "ours"),
    Case(3, 16, 200, 64, 5, 40, "ours"),
    Case(4, 40, 900, 200, 12, 0, "ours"),
)


class Step(NamedTuple):
    """What one side computes; gradients by parameter, in the crosscoder's units and shapes."""

    kept: torch.Tensor
    x_hat: torch.Tensor
    loss: torch.Tensor  # without the auxiliary loss
    gradients: dict[str, torch.Tensor]


def problem(case: Case) -> tuple[Crosscoder, torch.Tensor]:
    """Return a crosscoder and a batch [size, n, d_model]; the first features are the dead ones."""
    draw = torch.Generator().manual_seed(0)
    crosscoder = Crosscoder(case.n, case.d_model, case.d_sparse, decoder_norm=1.0)
    lengths = torch.empty(case.n, case.d_sparse, 1).uniform_(0.2, 2.0, generator=draw)
    if case.convention == "theirs":
        lengths = lengths[:, :1] * lengths[:1]
    with torch.no_grad():
        for parameter in (crosscoder.W_enc, crosscoder.b_enc, crosscoder.b_dec):
            parameter += 0.1 * torch.randn(parameter.shape, generator=draw)
        crosscoder.W_dec *= lengths
        crosscoder.W_enc[:, :, : case.dead] *= 0.005
        crosscoder.b_enc[: case.dead] = 0.2
    return crosscoder, torch.randn(case.size, case.n, case.d_model, generator=draw)


def entries_to_keep(crosscoder: Crosscoder, x: torch.Tensor, l0: int) -> int:
    """Return a number within 5% of l0 a row: v falls more after that many than after others."""
    v = (crosscoder.encode(x) * crosscoder.decoder_norms()).flatten().sort(descending=True).values
    first, last = round(0.95 * l0 * len(x)), round(1.05 * l0 * len(x))
    return first + int((v[first - 1 : last - 1] - v[first:last]).argmax())


def ours(case: Case, crosscoder: Crosscoder, x: torch.Tensor, keep: int) -> Step:
    """Return what the library's step computes, read from its kernels.

    The second call on the same batch counts: it starts from the first one's threshold, and screens
    if the processor can.
    """
    settings = StepSettings((0.9, 0.999), 1.0, torch.float32, "sparse",
                            case.auxiliary_weight, case.auxiliary_features)  # fmt: skip
    stepper = TrainStep(crosscoder, Moments.zero(crosscoder), case.size, settings)
    stepper.dead = torch.arange(case.dead) if case.dead else None
    stepper.gradients(x, 0.0, keep)
    stats, kernels = stepper.gradients(x, 0.0, keep), stepper.kernels
    features = np.repeat(np.arange(case.d_sparse), np.diff(kernels.pointer))
    kept = torch.zeros(case.size, case.d_sparse, dtype=torch.bool)
    kept[kernels.rows[: len(features)], features] = True
    x_hat = x + case.size / 2 * torch.from_numpy(kernels.g).reshape(x.shape)
    unwritten = ~stats.active
    unwritten[: case.dead] = False
    for matrix in (stepper.gradient.W_dec, stepper.gradient.W_enc):
        matrix[unwritten] = 0
    return Step(kept, x_hat, stats.error.sum(), stepper.gradient.parameters(case.n))


def sae_of(crosscoder: Crosscoder, k: float, convention: str) -> "BatchTopKTrainingSAE":
    """Return SAELens's SAE with the crosscoder's weights, which keeps `k` entries a row."""
    from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig

    n, d_model, d_sparse = crosscoder.W_enc.shape
    config = BatchTopKTrainingSAEConfig(
        d_in=n * d_model,
        d_sae=d_sparse,
        k=k,
        apply_b_dec_to_input=False,
        rescale_acts_by_decoder_norm=convention == "theirs",
        aux_loss_coefficient=WEIGHT,
    )
    sae, unit = BatchTopKTrainingSAE(config), units(crosscoder, convention)
    sae.W_enc.data.copy_(rearrange(crosscoder.W_enc.data, "n d k -> (n d) k") * unit)
    sae.b_enc.data.copy_(crosscoder.b_enc.data * unit)
    sae.W_dec.data.copy_(rearrange(crosscoder.W_dec.data, "n k d -> k (n d)") / unit[:, None])
    sae.b_dec.data.copy_(rearrange(crosscoder.b_dec.data, "n d -> (n d)"))
    return sae


def units(crosscoder: Crosscoder, convention: str) -> torch.Tensor:
    """Return by what each feature of the encoder is multiplied for SAELens."""
    norms = crosscoder.decoder_norms().detach()
    return norms if convention == "ours" else torch.ones_like(norms)


def theirs(case: Case, crosscoder: Crosscoder, x: torch.Tensor, keep: int) -> Step:
    """Return what SAELens computes by autograd, in the crosscoder's units."""
    from sae_lens.saes.sae import TrainStepInput

    sae = sae_of(crosscoder, (keep + 0.5) / case.size, case.convention)  # it rounds k * size down
    dead = torch.arange(case.d_sparse) < case.dead if case.dead else None
    output = sae.training_forward_pass(TrainStepInput(x.flatten(1), {}, dead, 0, False))
    output.loss.backward()
    unit = units(crosscoder, case.convention)
    gradients = Matrices(
        sae.W_dec.grad / unit[:, None], sae.W_enc.grad.T * unit[:, None],
        sae.b_dec.grad, sae.b_enc.grad * unit,
    )  # fmt: skip
    kept, x_hat = output.feature_acts > 0, output.sae_out.reshape(x.shape)
    loss = output.losses["mse_loss"].detach()
    return Step(kept, x_hat.detach(), loss, gradients.parameters(case.n))


def difference(ours: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the norm of the difference over the norm of what is expected."""
    return ((ours - expected).norm() / expected.norm()).item()


def differences(case: Case) -> dict[str, float]:
    """Return by how much one problem's results differ."""
    crosscoder, x = problem(case)
    keep = entries_to_keep(crosscoder, x, case.l0)
    mine, peers = ours(case, crosscoder, x, keep), theirs(case, crosscoder, x, keep)
    apart = {
        "kept": float((mine.kept != peers.kept).sum()),
        "x_hat": difference(mine.x_hat, peers.x_hat),
        "loss": difference(mine.loss, peers.loss),
    }
    gradients = mine.gradients.items()
    return apart | {f"d {name}": difference(g, peers.gradients[name]) for name, g in gradients}


@cache
def measured() -> dict[Case, dict[str, float]]:
    """Return the differences of every problem."""
    return {case: differences(case) for case in CASES}


def rows() -> list[dict]:
    """One line a problem."""
    return [
        case._asdict() | {name: f"{value:.1g}" for name, value in apart.items()}
        for case, apart in measured().items()
    ]


def too_different() -> Iterator[str]:
    """Yield where a difference exceeds the limit; NaN does."""
    for case, apart in measured().items():
        for name, value in apart.items():
            if not value <= LIMIT:
                yield f"{name} of {case}: {value:.2g}"


def ratios() -> dict[str, float]:
    """Return the largest difference. Ends the program with an error where one is too large."""
    if wrong := list(too_different()):
        raise SystemExit(f"agreement: above {LIMIT:g}:\n" + "\n".join(wrong))
    largest = max(max(apart.values()) for apart in measured().values())
    return {"batch_topk_largest_difference_from_saelens": largest}
