"""The machine a table was measured on."""

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("torch", "triton", "numba", "numpy", "h5py", "sae-lens", "transformers")


def describe() -> str:
    """Date, processor, cores, threads, memory, versions and load, in a few lines."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    versions = ", ".join(f"{name} {installed(name)}" for name in PACKAGES)
    return "\n".join(
        [
            f"- {time.strftime('%Y-%m-%d', time.gmtime())}, {processor()}, "
            f"{torch.backends.cpu.get_cpu_capability()}, bfloat16 products "
            f"{'in' if torch.cpu._is_avx512_bf16_supported() else 'not in'} hardware",
            f"- {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
            f"{memory() / 2**30:.0f} GiB, GPU: {gpu}, "
            f"Python {platform.python_version()}",
            f"- {versions}",
            f"- load when it began: {os.getloadavg()[0]:.1f}",
        ]
    )


def memory() -> int:
    """Return the machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def processor() -> str:
    """Return the processor's name, as Linux gives it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def installed(package: str) -> str:
    """Its version."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
