"""Check the GPUs of this machine, as the driver counts them."""

import os
import subprocess

from crosslens.workflow.doctor.finding import Finding, error, ok, warning
from crosslens.workflow.doctor.machine import Requests
from crosslens.workflow.gpu_locks import VISIBLE, visible


def driver_version() -> str | None:
    """Return the version of NVIDIA's driver; None if nvidia-smi does not find one."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.split()), None)


def gpus(requests: Requests, driver: str | None, *, cluster: bool) -> Finding:
    """Compare the GPUs that may be used here with the largest request of a rule."""
    rule = max(requests, key=lambda name: requests[name].get("gpu", 0))
    most = requests[rule].get("gpu", 0)
    if not most:
        return ok("GPUs", "none is requested")
    here = visible()
    chosen = f", chosen by {VISIBLE}" if VISIBLE in os.environ else ""
    text = f"{len(here)} GPUs{chosen}, driver {driver or 'none'}; {rule} requests {most}"
    if len(here) >= most:
        return ok("GPUs", text)
    if cluster:
        fix = "Run doctor on a GPU node too: srun --gpus=1 snakemake ... doctor."
        return warning("GPUs", f"{text}. {fix}")
    return error("GPUs", f"{text}. Use a machine with more GPUs, or lower `gpu` in resources.")
