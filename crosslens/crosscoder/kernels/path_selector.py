"""Which path a step takes: decided by the share of nonzeros that earlier steps measured."""

import torch
from jaxtyping import Float

# Sparse below the first share, dense above the second, between them as before, by device and dtype
# of dense products: measured on a CPU, by the model of docs/kernels.md on a GPU.
SHARES = {
    ("cpu", torch.float32): (0.19, 0.23),
    ("cpu", torch.bfloat16): (0.07, 0.09),
    ("cuda", torch.float32): (0.08, 0.10),
    ("cuda", torch.bfloat16): (0.007, 0.009),
}


class Switch:
    """`sparse` says the path of the next step; `auto` begins dense.

    The host never waits for a measurement: on a GPU it travels to pinned memory, and counts from
    the step at whose start it has arrived.
    """

    def __init__(self, path: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.enter, self.leave = SHARES[device, dtype]
        self.auto = path == "auto"
        self.sparse = path == "sparse"
        self.latest: torch.Tensor | None = None
        self.arrived: torch.cuda.Event | None = None

    def measured(self, l0: Float[torch.Tensor, ""]) -> None:
        """Note a step's L0, unless an earlier one is still on its way."""
        if not self.auto or self.arrived is not None:
            return
        self.latest = l0
        if l0.device.type == "cuda":
            pinned = torch.empty((), dtype=l0.dtype, pin_memory=True)
            self.latest = pinned.copy_(l0, non_blocking=True)
            self.arrived = torch.cuda.current_stream(l0.device).record_event()

    def decide(self, d_sparse: int) -> None:
        """Choose the path of the next step."""
        if self.latest is None or (self.arrived is not None and not self.arrived.query()):
            return
        share = float(self.latest) / d_sparse
        self.sparse = share < (self.leave if self.sparse else self.enter)
        self.latest = self.arrived = None
