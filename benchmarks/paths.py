"""Time of the sparse path divided by the dense path's: at 1, `auto` should change paths."""

from functools import cache

import numpy as np
import torch

from benchmarks.step import BATCH, BETA, CALLS, DTYPES, RATE, Size, crosscoder_of
from benchmarks.timing import interleaved, ratio
from crosslens.crosscoder.kernels.train_step import Moments, StepSettings, TrainStep

TITLE = "Where the paths meet"
D_MODEL, D_SPARSE, ROUNDS = 256, 4096, 7
SHARES = (0.01, 0.02, 0.04, 0.06, 0.09, 0.13, 0.18, 0.25)


@cache
def measured() -> dict[str, list[float]]:
    """Time by the sparse path over time by the dense one, of each dtype at each share."""
    torch.manual_seed(0)
    x = torch.randn(BATCH, 2, D_MODEL)
    return {name: [over(share, x, dtype) for share in SHARES] for name, dtype in DTYPES.items()}


def over(share: float, x: torch.Tensor, dtype: torch.dtype) -> float:
    """Sparse over dense at one share of nonzeros."""
    size, cases = Size(2, D_MODEL, D_SPARSE, round(share * D_SPARSE)), {}
    for path in ("sparse", "dense"):
        crosscoder = crosscoder_of(size, x)
        settings = StepSettings((0.9, 0.999), 1.0, dtype, path)
        stepper = TrainStep(crosscoder, Moments.zero(crosscoder), BATCH, settings)
        cases[path] = lambda stepper=stepper: stepper.take(x, BETA, RATE, 0)
    seconds = interleaved(cases, ROUNDS, warm=1, calls=CALLS)
    return ratio(seconds["sparse"], seconds["dense"])


def rows() -> list[dict]:
    """One line a share."""
    return [
        {"share of nonzeros": share}
        | {f"sparse over dense, {name}": round(found[i], 2) for name, found in measured().items()}
        for i, share in enumerate(SHARES)
    ]


def ratios() -> dict[str, float]:
    """Return the share at which both paths take the same time, between the measured ones."""
    return {
        f"break_even_share_{name}": float(np.interp(1.0, found, SHARES))
        for name, found in measured().items()
    }
