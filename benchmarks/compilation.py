"""Time of importing the kernels and of a step in a new process, without and with Numba's cache."""

import os
import subprocess
import sys
import tempfile
from functools import cache

TITLE = "First steps of a new process"
CODE = """
import time, torch
torch.set_num_threads(1)
from crosslens.crosscoder.model import Crosscoder
started = time.process_time()
from crosslens.crosscoder.kernels.train_step import Moments, StepSettings, TrainStep
c = Crosscoder(2, 64, 256)
for dtype in (torch.float32, torch.bfloat16):
    s = TrainStep(c, Moments.zero(c), 64, StepSettings((0.9, 0.999), 1.0, dtype, "sparse"))
    s.take(torch.randn(64, 2, 64), 2.0, 1e-3, 0)
print(time.process_time() - started)
"""


@cache
def measured() -> dict[str, float]:
    """CPU seconds of importing the kernels and of one step in each dtype."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder}
        return {when: run(environment) for when in ("cold", "warm")}


def run(environment: dict[str, str]) -> float:
    """CPU seconds that the process itself counted."""
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def rows() -> list[dict]:
    """Cold and warm."""
    return [{"cache": when, "CPU s": round(seconds, 2)} for when, seconds in measured().items()]


def ratios() -> dict[str, float]:
    """None is judged; the seconds are named as they are."""
    return {f"kernels_{when}_start_s": seconds for when, seconds in measured().items()}
