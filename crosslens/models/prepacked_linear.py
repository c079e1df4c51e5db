"""Linear layers for inference on a CPU, with weights stored once in MKL's packed layout.

MKL repacks W in every product with a batch. Packing it once saves that time and doubles the memory
of these weights.
"""

import torch
from jaxtyping import Float

MIN_WIDTH = 128  # layers with fewer inputs or outputs are not faster


class PrepackedLinear(torch.nn.Module):
    """x W^T + b, fast for inputs of `rows` rows; other inputs use the ordinary W."""

    def __init__(self, linear: torch.nn.Linear, rows: int) -> None:
        super().__init__()
        self.weight, self.bias, self.rows = linear.weight, linear.bias, rows
        self.prepacked = torch.ops.mkl._mkl_reorder_linear_weight(linear.weight.detach(), rows)

    def forward(self, x: Float[torch.Tensor, "... d_in"]) -> Float[torch.Tensor, "... d_out"]:
        """Return the linear layer's product, equal up to float32 rounding."""
        return torch.ops.mkl._mkl_linear(x, self.prepacked, self.weight, self.bias, self.rows)


def prepack(network: torch.nn.Module, rows: int) -> torch.nn.Module:
    """Replace, in place, the linear layers that become faster, and return the network.

    `rows` is the number of tokens in a batch. Nothing changes without MKL or on a GPU.
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is torch.nn.Linear and is_faster_prepacked(child.weight):
                setattr(module, name, PrepackedLinear(child, rows))
    return network


def is_faster_prepacked(weight: Float[torch.Tensor, "d_out d_in"]) -> bool:
    """Return whether MKL multiplies by these weights and they are wide enough."""
    is_float32_on_cpu = weight.device.type == "cpu" and weight.dtype == torch.float32
    return (
        torch.backends.mkl.is_available() and is_float32_on_cpu and min(weight.shape) >= MIN_WIDTH
    )
