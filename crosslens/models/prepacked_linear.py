"""Linear layers of a network that only runs forward, their weights laid out once as MKL reads them.

Before a product on a CPU MKL copies W into the order in which its loops go through it, for every
batch anew. Here that is done once, for twice the memory.
"""

import torch
from jaxtyping import Float

NARROW = 128  # layers with fewer inputs or outputs gain nothing


class PrepackedLinear(torch.nn.Module):
    """x W^T + b for `rows` rows of x; any other number of them takes W as it is."""

    def __init__(self, linear: torch.nn.Linear, rows: int) -> None:
        super().__init__()
        self.weight, self.bias, self.rows = linear.weight, linear.bias, rows
        self.prepacked = torch.ops.mkl._mkl_reorder_linear_weight(linear.weight.detach(), rows)

    def forward(self, x: Float[torch.Tensor, "... d_in"]) -> Float[torch.Tensor, "... d_out"]:
        """The product, equal to the linear layer's to float32's rounding."""
        return torch.ops.mkl._mkl_linear(x, self.prepacked, self.weight, self.bias, self.rows)


def prepack(network: torch.nn.Module, rows: int) -> torch.nn.Module:
    """Replace, in place, the linear layers for which it pays; returns the network.

    `rows` are the tokens of a batch. Without MKL, or on a GPU, nothing changes.
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is torch.nn.Linear and pays(child.weight):
                setattr(module, name, PrepackedLinear(child, rows))
    return network


def pays(weight: Float[torch.Tensor, "d_out d_in"]) -> bool:
    """Whether MKL multiplies by these weights, and they are wide enough."""
    ours = weight.device.type == "cpu" and weight.dtype == torch.float32
    return torch.backends.mkl.is_available() and ours and min(weight.shape) >= NARROW
