"""Time of a training step: crosslens, dense PyTorch, other implementations, and two lower bounds.

- ours: crosslens, with float32 or bfloat16 products;
- autograd: `Crosscoder.loss`, clip, fused Adam; autocast: the same in bfloat16;
- einsum: one product for each model by einsum, and plain Adam, as in public crosscoders;
- sae-lens: its SAETrainer on the models' concatenated activations, which differs from a crosscoder
  only in its L1 norm, taken over all models together;
- roofline, of the dense step: five matrix products for each model at the speed of a large float32
  product, and 28 bytes for each parameter (fused Adam) at the speed of a large copy;
- limit, of the sparse step: the encoder's product alone, in the dtype that the step uses (bfloat16
  where the float32 step screens), and the same bytes.
"""

from collections.abc import Callable
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import torch

from benchmarks.timing import Seconds, interleaved, ratio
from crosslens.crosscoder.kernels.bf16_screen import SCREEN_BELOW, is_supported
from crosslens.crosscoder.kernels.train_step import Moments, StepSettings, TrainStep
from crosslens.crosscoder.model import Crosscoder

if TYPE_CHECKING:
    from sae_lens import TrainingSAE

TITLE = "Training step"
BATCH, BETA, RATE = 1024, 2.0, 1e-9  # at this rate the density stays what it is
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
PEERS = ("einsum", "sae-lens")
ADAM_BYTES = 28  # a parameter: read w, m, v, g; write w, m, v
LARGE = 2048  # side of the product that measures the peak
COPIED = 1 << 25  # floats of the copy that measures the bandwidth
ROUNDS, CALLS = 7, 4


class Size(NamedTuple):
    """One problem; `l0` features fire on a row."""

    n: int
    d_model: int
    d_sparse: int
    l0: int


JUDGED = {"n2": Size(2, 256, 4096, 60), "n3": Size(3, 256, 4096, 60)}
HALF = Size(2, 256, 4096, 2048)
SIZES = (*JUDGED.values(), Size(2, 256, 4096, 17), Size(2, 256, 4096, 258),
         Size(2, 256, 4096, 600), HALF, Size(2, 64, 1024, 8), Size(4, 256, 4096, 60))  # fmt: skip


def crosscoder_of(size: Size, x: torch.Tensor, decoder_norm: float = 0.08) -> Crosscoder:
    """Return a crosscoder on x's device whose bias lets `l0` features fire on a row of x."""
    crosscoder = Crosscoder(size.n, size.d_model, size.d_sparse, decoder_norm=decoder_norm)
    crosscoder.to(x.device)
    with torch.no_grad():
        pre = torch.einsum("bnd,ndk->bk", x[:128], crosscoder.W_enc)
        crosscoder.b_enc -= pre.flatten().quantile(1 - size.l0 / size.d_sparse)
    return crosscoder


def ours(
    size: Size, x: torch.Tensor, dtype: torch.dtype, *, batch_topk: bool = False
) -> Callable[[], object]:
    """Return the library's step: with an L1 penalty by the path it chooses, or with BatchTopK."""
    crosscoder = crosscoder_of(size, x)
    settings = StepSettings((0.9, 0.999), 1.0, dtype, "sparse" if batch_topk else "auto")
    stepper = TrainStep(crosscoder, Moments.zero(crosscoder), BATCH, settings)
    beta, keep = (0.0, size.l0 * BATCH) if batch_topk else (BETA, None)
    step = iter(range(10**9))
    return lambda: stepper.take(x, beta, RATE, next(step), keep)


def autograd(size: Size, x: torch.Tensor, *, autocast: bool = False) -> Callable[[], object]:
    """Dense PyTorch."""
    crosscoder = crosscoder_of(size, x)
    optimizer = torch.optim.Adam(crosscoder.parameters(), lr=RATE, fused=True)

    def step() -> None:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=autocast):
            loss = crosscoder.loss(x, BETA).total
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(crosscoder.parameters(), 1.0)
        optimizer.step()

    return step


def einsum(size: Size, x: torch.Tensor) -> Callable[[], object]:
    """Return the step of public crosscoder trainers: einsum over models, plain Adam."""
    start = crosscoder_of(size, x)
    p = [torch.nn.Parameter(q.detach().contiguous()) for q in start.parameters()]
    W_dec, W_enc, b_enc, b_dec = p
    optimizer = torch.optim.Adam(p, lr=RATE)

    def step() -> None:
        f = torch.relu(torch.einsum("bnd,ndk->bk", x, W_enc) + b_enc)
        x_hat = torch.einsum("bk,nkd->bnd", f, W_dec) + b_dec
        loss = (x - x_hat).pow(2).sum(dim=(1, 2)).mean()
        loss = loss + BETA * (f * W_dec.norm(dim=-1).sum(dim=0)).sum(dim=-1).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(p, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def sae_lens(size: Size, x: torch.Tensor) -> Callable[[], object]:
    """SAELens' trainer with the same bias and an L1 penalty weighted by decoder norms."""
    from sae_lens import StandardTrainingSAE, StandardTrainingSAEConfig

    config = StandardTrainingSAEConfig(
        d_in=size.n * size.d_model, d_sae=size.d_sparse, l1_coefficient=BETA, dtype="float32"
    )
    sae = StandardTrainingSAE(config)
    start = crosscoder_of(size, x)
    sae.b_enc.data.copy_(start.b_enc.data)
    sae.W_enc.data.copy_(start.W_enc.data.reshape(sae.W_enc.shape))
    sae.W_dec.data.copy_(start.W_dec.data.transpose(0, 1).reshape(sae.W_dec.shape))
    return by_saelens(sae, x)


def by_saelens(sae: "TrainingSAE", x: torch.Tensor) -> Callable[[], object]:
    """Return the step of SAELens's trainer on the models' concatenated activations."""
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    plan = SAETrainerConfig(BATCH * 10**6, BATCH, lr=RATE, lr_end=RATE)
    trainer, flat = SAETrainer(plan, sae, iter([])), x.flatten(1)
    return lambda: trainer.step(flat)


def hardware(size: Size, x: torch.Tensor) -> dict[str, Callable[[], object]]:
    """Return the operations whose times make the limits."""
    a, b, c = (torch.randn(LARGE, LARGE) for _ in range(3))
    source, target = torch.randn(COPIED), torch.empty(COPIED)
    flat = x.reshape(BATCH, -1)
    W = torch.randn(size.d_sparse, flat.shape[1])
    low_x, low_W = flat.bfloat16(), W.bfloat16()
    return {
        "peak": lambda: torch.mm(a, b, out=c),
        "copy": lambda: target.copy_(source),
        "encoder fp32": lambda: flat @ W.T,
        "encoder bf16": lambda: low_x @ low_W.T,
    }


def limits(size: Size, seconds: Seconds) -> Seconds:
    """Dense roofline and own limits of each round."""
    parameters = 2 * size.n * size.d_model * size.d_sparse
    flops = 5 * 2 * BATCH * size.n * size.d_model * size.d_sparse
    adam = [ADAM_BYTES * parameters * s / (8 * COPIED) for s in seconds["copy"]]
    peak = [flops * s / (2 * LARGE**3) for s in seconds["peak"]]
    found = {"roofline": [a + b for a, b in zip(peak, adam, strict=True)]}
    screened = is_supported() and size.l0 < SCREEN_BELOW * size.d_sparse
    for name in DTYPES:
        encoder = seconds["encoder bf16" if screened else f"encoder {name}"]
        found[f"limit {name}"] = [a + b for a, b in zip(encoder, adam, strict=True)]
    return found


@cache
def measured(size: Size) -> Seconds:
    """Seconds of all contestants and limits at one size."""
    torch.manual_seed(0)
    x = torch.randn(BATCH, size.n, size.d_model)
    contestants = {f"ours {name}": ours(size, x, dtype) for name, dtype in DTYPES.items()}
    contestants["autograd"] = autograd(size, x)
    contestants["autocast"] = autograd(size, x, autocast=True)
    contestants |= {"einsum": einsum(size, x), "sae-lens": sae_lens(size, x)}
    seconds = interleaved(contestants | hardware(size, x), ROUNDS, warm=1, calls=CALLS)
    return seconds | limits(size, seconds)


def rows() -> list[dict]:
    """Milliseconds of a step; ratios are times over ours, so that more is better for us."""
    table = []
    for size in SIZES:
        seconds = measured(size)
        line = dict(zip(("N", "d_model", "d_sparse", "L0"), size, strict=True))
        for name in ("ours fp32", "ours bf16", "autograd", "autocast", *PEERS):
            line[f"{name} ms"] = round(1e3 * median(seconds[name]), 1)
        for name in ("roofline", "limit fp32", "limit bf16"):
            line[f"{name} ms"] = round(1e3 * median(seconds[name]), 1)
        table.append(line)
    return table


def ratios() -> dict[str, float]:
    """Speed against the fastest peer (more is better), time against the limits (less is better)."""
    found = {}
    for name, size in JUDGED.items():
        seconds = measured(size)
        for dtype in DTYPES:
            mine = seconds[f"ours {dtype}"]
            peers = min(ratio(seconds[peer], mine) for peer in PEERS)
            found[f"step_speed_over_fastest_peer_{dtype}_{name}"] = peers
            found[f"step_speed_over_dense_pytorch_{dtype}_{name}"] = ratio(
                seconds["autograd"], mine
            )
            found[f"step_over_dense_roofline_{dtype}_{name}"] = ratio(mine, seconds["roofline"])
            found[f"step_over_own_limit_{dtype}_{name}"] = ratio(mine, seconds[f"limit {dtype}"])
    half = measured(HALF)
    for dtype, name in (("fp32", "autograd"), ("bf16", "autocast")):
        slower = ratio(half[f"ours {dtype}"], half[name])
        found[f"step_at_half_density_over_dense_pytorch_{dtype}"] = slower
    return found
