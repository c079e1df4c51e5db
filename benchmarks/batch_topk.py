"""Time of a step with BatchTopK, of one with an L1 penalty, and of SAELens's BatchTopK.

- L1, BatchTopK: crosslens, on crosscoders with the same weights, of which about L0 features fire on
  a row, or exactly L0 in the mean; auxiliary losses are off, as no feature is dead;
- sae-lens: the step of its trainer with its BatchTopK in its own convention, on the same
  activations. `agreement` has what it computes.
"""

from functools import cache
from statistics import median

import torch

from benchmarks.agreement import sae_of
from benchmarks.step import (
    BATCH,
    CALLS,
    DTYPES,
    JUDGED,
    ROUNDS,
    Size,
    by_saelens,
    crosscoder_of,
    ours,
)
from benchmarks.timing import Seconds, interleaved, ratio

TITLE = "Training step with BatchTopK"
SIZES = {"mini": Size(2, 64, 1024, 8), "n2": JUDGED["n2"]}


@cache
def measured(size: Size) -> Seconds:
    """Seconds of all contestants at one size."""
    torch.manual_seed(0)
    x = torch.randn(BATCH, size.n, size.d_model)
    contestants = {"sae-lens": by_saelens(sae_of(crosscoder_of(size, x), size.l0, "theirs"), x)}
    for name, dtype in DTYPES.items():
        contestants[f"L1 {name}"] = ours(size, x, dtype)
        contestants[f"BatchTopK {name}"] = ours(size, x, dtype, batch_topk=True)
    return interleaved(contestants, ROUNDS, warm=2, calls=CALLS)


def rows() -> list[dict]:
    """Milliseconds of a step."""
    return [
        dict(zip(("N", "d_model", "d_sparse", "L0"), size, strict=True))
        | {f"{name} ms": round(1e3 * median(times), 1) for name, times in measured(size).items()}
        for size in SIZES.values()
    ]


def ratios() -> dict[str, float]:
    """Return BatchTopK's time over L1's (less is better), and speed over SAELens's (more is)."""
    found = {}
    for name, size in SIZES.items():
        seconds = measured(size)
        for dtype in DTYPES:
            mine = seconds[f"BatchTopK {dtype}"]
            found[f"batch_topk_step_over_l1_step_{dtype}_{name}"] = ratio(
                mine, seconds[f"L1 {dtype}"]
            )
            found[f"batch_topk_speed_over_saelens_{dtype}_{name}"] = ratio(
                seconds["sae-lens"], mine
            )
    return found
