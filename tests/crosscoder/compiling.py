"""Compile all launches of a GPU's step for an H100 by the installed compiler; no GPU is needed.

usage: python compiling.py N D_MODEL DTYPE      a line a kernel: its name, registers, bytes spilled
"""

import re
import subprocess
import sys
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

from crosslens.crosscoder.kernels.parameter_matrices import Matrices
from crosslens.crosscoder.kernels.sparse_gpu import SparseGpuKernels

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
SIZE, D_SPARSE = 32, 64
ADAM = (torch.ones(()), 1e-3, 0.9, 0.999, 1.1, 1e-8)


class H100:
    """Answers to what the compiler asks a driver."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)


def compiled(kernel: JITFunction, grid: tuple[int, ...]):
    """Compile the kernel in place of a launch."""

    def launch(*arguments, **options) -> None:
        binary = kernel.run(*arguments, grid=grid, warmup=True, **options).asm["cubin"]
        Path("kernel.cubin").write_bytes(binary)
        usage = [str(CUOBJDUMP), "-res-usage", "kernel.cubin"]
        output = subprocess.run(usage, check=True, capture_output=True, text=True).stdout
        print(kernel.__name__, *re.search(r"REG:(\d+) STACK:(\d+)", output).groups())

    return launch


def step(n: int, d: int, dtype: torch.dtype) -> None:
    """Launch all kernels of a sparse and of a dense step."""
    weights = Matrices(*(torch.zeros(shape) for shape in ((D_SPARSE, n * d),) * 2),
                       torch.zeros(n * d), torch.zeros(D_SPARSE))  # fmt: skip
    rounded = None if dtype == torch.float32 else weights.W_enc.to(dtype)
    kernels = SparseGpuKernels(SIZE, weights, n, rounded)
    kernels.gradients(torch.zeros(SIZE, n * d), weights, weights, 2.0)
    kernels.gradients(torch.zeros(SIZE, n * d), weights, weights, 0.0, 99, extended=True)
    for skip in (True, False):
        kernels.update(weights, (weights, weights), weights, ADAM, skip_inactive=skip)


if __name__ == "__main__":
    driver.set_active(H100())
    JITFunction.__getitem__ = compiled
    step(int(sys.argv[1]), int(sys.argv[2]), getattr(torch, sys.argv[3]))
