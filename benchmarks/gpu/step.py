"""The training step against a lower bound, encoder product + fused Adam, and dense PyTorch.

All of them run interleaved in one process. On a CPU the step is Numba's, not Triton's.
"""

from collections.abc import Callable
from functools import partial
from statistics import median

import torch

from benchmarks.gpu.section import Machine, Part, Result, require
from benchmarks.step import BATCH, DTYPES, RATE, Size, autograd, crosscoder_of, ours
from benchmarks.timing import interleaved, ratio
from crosslens.crosscoder.kernels.parameter_matrices import weights_of

FULL = [Size(n, 2560, 32768, 60) for n in (2, 3)]
SMALL = [Size(n, 32, 512, 8) for n in (2, 3)]
ROUNDS, WARM = 5, 2
CALLS = {"cuda": 4, "cpu": 1}  # in a row


def lower_bound(size: Size, x: torch.Tensor, dtype: torch.dtype) -> Callable[[], object]:
    """Return the encoder's product and an Adam step, which no exact step can avoid."""
    crosscoder = crosscoder_of(size, x)
    optimizer = torch.optim.Adam(crosscoder.parameters(), lr=RATE, fused=True)
    for p in crosscoder.parameters():
        p.grad = torch.zeros_like(p)
    flat, W_enc = x.flatten(1).to(dtype), weights_of(crosscoder).W_enc.to(dtype)

    def step() -> None:
        flat @ W_enc.T
        optimizer.step()

    return step


def check_finite(step: Callable[[], object]) -> None:
    """Raise AssertionError unless the statistics of a step are finite."""
    stats = step()
    require(bool(stats.error.isfinite().all()), "the error of a step is not finite")
    require(bool(stats.grad_norm_sq.isfinite()), "the gradient's norm is not finite")


def measure(size: Size, device: str) -> Result:
    """Return milliseconds of each contestant, and ratios."""
    torch.manual_seed(0)
    x = torch.randn(BATCH, size.n, size.d_model).to(device)
    contestants: dict[str, Callable[[], object]] = {}
    for name, dtype in DTYPES.items():
        contestants[f"crosslens {name}"] = ours(size, x, dtype)
        check_finite(contestants[f"crosslens {name}"])
        contestants[f"dense {name}"] = autograd(size, x, autocast=dtype == torch.bfloat16)
        contestants[f"bound {name}"] = lower_bound(size, x, dtype)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    seconds = interleaved(contestants, ROUNDS, WARM, CALLS[device], wait)
    numbers = {f"{name}, ms": 1e3 * median(times) for name, times in seconds.items()}
    texts = []
    for name in DTYPES:
        step, dense, bound = (seconds[f"{c} {name}"] for c in ("crosslens", "dense", "bound"))
        over, speed = ratio(step, bound), ratio(dense, step)
        numbers |= {f"over the bound {name}": over, f"speed over dense {name}": speed}
        texts.append(
            f"{name}: {1e3 * median(step):.2f} ms, {over:.2f} times encoder + Adam, "
            f"{speed:.1f} times as fast as dense PyTorch"
        )
    return Result("; ".join(texts), numbers)


def parts(machine: Machine) -> list[Part]:
    """Return a part for each size; the paper's need a GPU."""
    how = "Triton" if machine.device == "cuda" else "Numba"
    sizes = [(size, False) for size in SMALL if not machine.full]
    sizes += [(size, True) for size in FULL if machine.full or machine.device == "cpu"]
    return [
        Part(
            f"n {size.n}, d_model {size.d_model}, d_sparse {size.d_sparse}, L0 {size.l0}, {how}",
            partial(measure, size, machine.device),
            packages=("triton" if machine.device == "cuda" else "numba",),
            cuda=cuda,
        )
        for size, cuda in sizes
    ]
