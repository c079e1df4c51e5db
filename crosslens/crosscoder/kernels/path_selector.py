"""Select a step's path, sparse or dense, by the density that earlier steps measured."""

import torch
from jaxtyping import Float

# By device and dtype of dense products: sparse below the first fraction of nonzeros, dense above
# the second, unchanged between them. Measured on a CPU; on a GPU by docs/kernel-costs.md.
DENSITY_LIMITS = {
    ("cpu", torch.float32): (0.19, 0.23),
    ("cpu", torch.bfloat16): (0.07, 0.09),
    ("cuda", torch.float32): (0.08, 0.10),
    ("cuda", torch.bfloat16): (0.007, 0.009),
}


class PathSelector:
    """Choose the path of the next step and set `sparse`; with "auto", the first steps are dense.

    The host never waits for a measurement. On a GPU, a measurement is copied to pinned memory and
    used from the first step that starts after the copy.
    """

    def __init__(self, path: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.enter, self.leave = DENSITY_LIMITS[device, dtype]
        self.auto = path == "auto"
        self.sparse = path == "sparse"
        self.latest: torch.Tensor | None = None
        self.arrived: torch.cuda.Event | None = None

    def record(self, l0: Float[torch.Tensor, ""]) -> None:
        """Record a step's L0, unless an earlier one is still being copied."""
        if not self.auto or self.arrived is not None:
            return
        self.latest = l0
        if l0.device.type == "cuda":
            pinned = torch.empty((), dtype=l0.dtype, pin_memory=True)
            self.latest = pinned.copy_(l0, non_blocking=True)
            self.arrived = torch.cuda.current_stream(l0.device).record_event()

    def choose(self, d_sparse: int) -> None:
        """Choose the path of the next step from the latest L0."""
        if self.latest is None or (self.arrived is not None and not self.arrived.query()):
            return
        density = float(self.latest) / d_sparse
        self.sparse = density < (self.leave if self.sparse else self.enter)
        self.latest = self.arrived = None
