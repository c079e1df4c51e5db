"""Print what this Python, its PyTorch and the GPUs that it sees are, as JSON.

Runs in each environment of a study: python -m crosslens.workflow.doctor.torch_probe
"""

import json
import platform
import sys
import sysconfig
import warnings
from pathlib import Path
from typing import Any


def probe() -> dict[str, Any]:
    """Return versions, and a name, capability and memory for each GPU."""
    import torch

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    count = torch.cuda.device_count() if available else 0
    devices = [torch.cuda.get_device_properties(number) for number in range(count)]
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "headers": Path(sysconfig.get_path("include"), "Python.h").is_file(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "compiled_for": torch.cuda.get_arch_list() if available else [],
        "gpus": [
            {"name": d.name, "capability": f"sm_{d.major}{d.minor}", "memory": d.total_memory}
            for d in devices
        ],
        "warning": next((str(one.message).splitlines()[0] for one in heard), ""),
    }


if __name__ == "__main__":
    print(json.dumps(probe()))
