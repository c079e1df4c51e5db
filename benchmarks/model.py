"""Estimate a GPU's sparse step at the paper's sizes from bytes and FLOP. Nothing ran on a GPU.

A kernel takes the time of its FLOP or of its bytes, whichever is longer, and kernels run one after
the other. Bytes gathered from the second-level cache add to those of memory, as if the two never
overlapped. Launches and latencies are not counted. Products are in bfloat16, L0 is 60.
The limit is the encoder's product and fused Adam, 28 bytes a parameter.
"""

from typing import NamedTuple

from benchmarks.step import ADAM_BYTES, BATCH, Size

TITLE = "Estimate of a step on a GPU"
MEMORY, CACHE = 4.3e12, 8.6e12  # bytes a second
VECTOR = 60e12  # FLOP a second, float32
PRODUCT = {2: 790e12, 4: VECTOR}  # of a matrix product, by bytes of its type
SIZES = [Size(n, d, 32768, 60) for d in (2560, 3584, 4096) for n in (2, 3)]
RECOMPUTE_MAX_ENTRIES = 4  # as in `sparse_gpu`, which needs Triton: the peers' environment has none
FIRING = {"all": 1, "a third": 3}  # one of so many features fires


class Kernel(NamedTuple):
    """What one or some kernels compute, stream through memory and gather from the cache."""

    flop: float
    streamed: float
    gathered: float = 0
    speed: float = VECTOR

    @property
    def ms(self) -> float:
        """Time."""
        moving = self.streamed / MEMORY + self.gathered / CACHE
        return 1e3 * max(self.flop / self.speed, moving)


def step(size: Size, one_in: int = 1, low: int = 2) -> dict[str, Kernel]:
    """Return the cost of a step by the kernels, all firing features having equally many entries.

    `low`: bytes of a product's type.
    """
    B, K, D, z = BATCH, size.d_sparse, size.n * size.d_model, BATCH * size.l0
    firing, x, g = K / one_in, low * BATCH * D, 4 * BATCH * D
    kept = 8 * firing * D if z / firing > RECOMPUTE_MAX_ENTRIES else 0
    rounded = g + x if low < 4 else 0  # x, for the encoder and for its gradient
    again = 0 if kept else (4 + low) * z * D
    copy = low * K * D if low < 4 else 0
    return {
        "encoder": Kernel(2 * B * D * K, low * K * D + x + low * B * K, speed=PRODUCT[low]),
        "index": Kernel(0, rounded + 2 * low * B * K + 24 * z),
        "decode": Kernel(2 * z * D, 4 * firing * D + 3 * g, 4 * z * D),
        "backward": Kernel(6 * z * D, 4 * firing * D + kept + g + x, (4 + low) * z * D),
        "Adam": Kernel(24 * K * D, 48 * K * D + copy + kept + g + x, again),
    }


def limit(size: Size) -> float:
    """Milliseconds of the encoder and of plain fused Adam."""
    parameters = 2 * size.d_sparse * size.n * size.d_model
    return step(size)["encoder"].ms + 1e3 * ADAM_BYTES * parameters / MEMORY


def rows() -> list[dict]:
    """Milliseconds of each size, whichever share of the features fires."""
    return [line(size, firing) for size in SIZES for firing in FIRING]


def line(size: Size, firing: str) -> dict:
    """One size."""
    kernels = {f"{name} ms": kernel.ms for name, kernel in step(size, FIRING[firing]).items()}
    whole, least = sum(kernels.values()), limit(size)
    times = kernels | {"step ms": whole, "limit ms": least, "step over limit": whole / least}
    start = {"N": size.n, "d_model": size.d_model, "features that fire": firing}
    return start | {name: round(ms, 2) for name, ms in times.items()}


def break_even(low: int) -> float:
    """Return the share of nonzeros at which gathering costs as much as four dense products."""
    size = SIZES[0]
    D = size.n * size.d_model
    gathered = (8 + low) * D / CACHE
    return 4 * 2 * D / PRODUCT[low] / gathered


def ratios() -> dict[str, float]:
    """Return the largest ratio if every feature fires, and the share where `auto` should switch."""
    return {
        "gpu_step_over_encoder_and_adam_by_model": max(
            sum(kernel.ms for kernel in step(size).values()) / limit(size) for size in SIZES
        ),
        "gpu_break_even_share_by_model_fp32": break_even(4),
        "gpu_break_even_share_by_model_bf16": break_even(2),
    }
