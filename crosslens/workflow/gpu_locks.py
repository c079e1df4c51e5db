"""Assign GPUs to jobs: Snakemake only counts GPUs; here each job gets its own.

`--resources gpu=8` limits the number of GPUs in use but does not assign them: eight jobs of one GPU
each would all run on the first. A job that holds a GPU keeps a lock on a file named after it. The
locks belong to open files, so they are released when the job and the backends it started have
ended, in whatever way. Studies that one user runs at the same time on a machine share the locks.
"""

import fcntl
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from crosslens.io.errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"
DEVICE = re.compile(r"\d+|(GPU|MIG)-[\w/-]+")
WEAK_CHECK = "PYTORCH_NVML_BASED_CUDA_CHECK"  # PyTorch then starts nothing (vllm_engine)
PAUSE = 0.5  # seconds between two attempts
LOCKS = Path("/tmp")  # not TMPDIR, which may differ from job to job

locks: list[int] = []  # descriptors to pass on to engines: what a lost engine uses stays taken


def visible() -> list[str]:
    """Return the GPUs to choose from: those in CUDA_VISIBLE_DEVICES if it is set, else all."""
    if (given := os.environ.get(VISIBLE)) is not None:
        return [name for name in map(str.strip, given.split(",")) if DEVICE.fullmatch(name)]
    return installed()


def installed() -> list[str]:
    """Return the driver's GPU numbers, or an empty list without a driver."""
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return said.stdout.split()


@contextmanager
def acquire_gpus(count: int) -> Iterator[list[str]]:
    """Give this process `count` GPUs that no other job holds, for as long as the block runs.

    Their names are yielded and set in CUDA_VISIBLE_DEVICES, so enter the block before CUDA is
    initialized. With a count of 0, all GPUs are hidden. If SLURM has given the job exactly what it
    requested, nothing is changed; GPUs of an allocation that several jobs share are assigned here.

    Waits while too few are free. Raises InputError when the machine has fewer than `count`.
    """
    ids = visible() if count else []
    before = os.environ.get(VISIBLE)
    if count and "SLURM_JOB_ID" in os.environ and len(ids) <= count:
        yield ids
        return
    check_count("GPUs: the job", count, ids)
    taken = wait_for(count, ids) if count else {}
    locks.extend(taken.values())
    os.environ[VISIBLE] = ",".join(taken)
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # nvidia-smi's order
    try:
        yield list(taken)
    finally:
        release(taken)
        os.environ.pop(VISIBLE, None) if before is None else os.environ.update({VISIBLE: before})


def wait_for(count: int, ids: list[str]) -> dict[str, int]:
    """Wait until `count` GPUs are free, and return locks on them by name."""
    folder = lock_folder()
    waiting = False
    while not (taken := take(count, ids, folder)):
        if not waiting:
            print(f"waiting for {count} of the GPUs {','.join(ids)}", flush=True)
        waiting = True
        time.sleep(PAUSE)
    print(f"GPUs: {','.join(taken)}", flush=True)
    return taken


def lock_folder() -> Path:
    """Return the folder of locks, one per user and SLURM job, as SLURM may renumber GPUs."""
    job = os.environ.get("SLURM_JOB_ID")
    folder = LOCKS / f"crosslens-gpus-{os.getuid()}{f'-{job}' if job else ''}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def take(count: int, ids: list[str], folder: Path) -> dict[str, int]:
    """Lock `count` GPUs or none; one job tries at a time, which avoids a deadlock."""
    with (folder / "mutex").open("w") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        taken: dict[str, int] = {}
        for name in ids:
            if len(taken) < count and (lock := try_lock(folder / name.replace("/", "_"))):
                taken[name] = lock
        if len(taken) < count:
            release(taken)
            return {}
        return taken


def try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock of a file, or None if another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def release(taken: Mapping[str, int]) -> None:
    """Release locks."""
    for lock in taken.values():
        os.close(lock)
        if lock in locks:
            locks.remove(lock)


def check_machine(needs: Mapping[str, int], limit: int | None) -> None:
    """Check that this machine has the GPUs of the largest request, and of the limit.

    `needs` maps rules to the GPUs of one job; `limit` is `--resources gpu=N`. Raises InputError.
    """
    rule = max(needs, key=lambda rule: needs[rule], default=None)
    if rule is None or not needs[rule]:
        return
    ids = visible()
    check_count(f"resources.{rule}.gpu: one job", needs[rule], ids)
    check_count("--resources gpu", limit or 0, ids)


def check_pytorch(count: int) -> None:
    """Raise InputError if this process holds `count` GPUs and its PyTorch finds none.

    PyTorch would otherwise compute on CPUs, for days and without a message, or an engine would end
    in a traceback. An environment without PyTorch passes.
    """
    if count and find_spec("torch") and not pytorch_finds_gpus():
        raise InputError(
            f"GPUs: the job holds {count} ({os.environ.get(VISIBLE, 'unnamed')}), but the PyTorch "
            "of its environment finds none. Install a CUDA build of PyTorch that fits the driver "
            "(see nvidia-smi), or set `gpu: 0` for the rule in `resources`."
        )


def pytorch_finds_gpus() -> bool:
    """Return whether PyTorch can start CUDA, by its strict check: a driver that is too old cannot.

    A new process asks if this one has not imported PyTorch (its engine will), or must not start
    CUDA (vLLM forks it).
    """
    torch = sys.modules.get("torch")
    if torch and WEAK_CHECK not in os.environ:
        return torch.cuda.is_available()
    strict = {name: value for name, value in os.environ.items() if name != WEAK_CHECK}
    ask = [sys.executable, "-c", "import torch; raise SystemExit(not torch.cuda.is_available())"]
    return subprocess.run(ask, env=strict).returncode == 0


def check_count(what: str, count: int, ids: list[str]) -> None:
    """Raise InputError when more GPUs are requested than there are."""
    if count > len(ids):
        source = VISIBLE if VISIBLE in os.environ else "nvidia-smi"
        raise InputError(
            f"{what} requests {count} GPUs, but this machine has {len(ids)} "
            f"({source}: {','.join(ids) or 'none'}). Request fewer GPUs, or run the "
            "job on another machine."
        )
