"""Check this machine: memory, disk, shared memory, temporary files, compilers, and Python."""

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from crosslens.config.study import StudyConfig
from crosslens.io.errors import InputError
from crosslens.workflow.cost_estimate import disk_space
from crosslens.workflow.doctor.finding import Finding, error, ok, warning

GB = 1e9
SHM = Path("/dev/shm")
SHM_CPU, SHM_GPU = 0.2 * GB, 8 * GB  # of Ray's object store; of NCCL and vLLM's processes too
COMPILERS = ("cc", "gcc", "clang")

Requests = Mapping[str, Mapping[str, int]]  # rule -> gpu, mem_mb, runtime of one job


def memory(requests: Requests, *, cluster: bool) -> Finding:
    """Compare the machine's memory with the largest request of a rule."""
    here = memory_limit()
    rule = max(requests, key=lambda name: requests[name].get("mem_mb", 0))
    most = requests[rule].get("mem_mb", 0) * 1e6
    text = f"{here / GB:.0f} GB; the largest request is {most / GB:.0f} GB ({rule})"
    if most <= here:
        return ok("memory", text)
    if cluster:
        return ok("memory", f"{text}; SLURM finds a node for it")
    fix = f"Use a larger machine, or lower resources.{rule}.mem_mb and the settings that need it."
    return error("memory", f"{text}. {fix}")


def memory_limit() -> float:
    """Return the bytes of memory of this machine, or of the container that this process is in."""
    text = Path("/proc/meminfo").read_text()
    match = re.search(r"^MemTotal:\s+(\d+) kB", text, re.MULTILINE)
    assert match, "Linux lists MemTotal"
    limit = Path("/sys/fs/cgroup/memory.max")
    group = limit.read_text().strip() if limit.is_file() else "max"
    return min(int(match[1]) * 1024, float("inf") if group == "max" else int(group))


def disk(study: StudyConfig, results: Path) -> Finding:
    """Compare the planned peak with the free disk space and what the study already takes."""
    free = shutil.disk_usage(existing(results)).free
    try:
        planned = disk_space.peak(disk_space.disks(study), rolling=True, at_once=False)
    except InputError as problem:
        return warning("disk", f"{free / GB:,.0f} GB free; no plan: {problem}")
    used = sum(entry.stat().st_size for entry in files_below(results))
    text = f"{free / GB:,.0f} GB free; the study takes {used / GB:,.0f} GB now and at its peak "
    text += f"{planned / GB:,.1f} GB"
    if planned <= free + used:
        return ok("disk", text)
    return error("disk", f"{text}. Free disk space, or lower activations.shards_on_disk.")


def files_below(folder: Path) -> list[Path]:
    """Return the regular files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def existing(path: Path) -> Path:
    """Return a path or the first of its parents that exists."""
    path = path.absolute()
    return path if path.exists() else existing(path.parent)


def shared_memory(*, gpus: bool, folder: Path = SHM) -> Finding:
    """Check the size of /dev/shm, which containers limit to 64 MB."""
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return error(str(folder), "missing or not writable. Mount a tmpfs there.")
    free, needed = shutil.disk_usage(folder).free, SHM_GPU if gpus else SHM_CPU
    text = f"{free / GB:.1f} GB free"
    if free >= needed:
        return ok(str(folder), text)
    return warning(
        str(folder),
        f"{text}; Ray and NCCL use up to {needed / GB:.1f} GB. Enlarge it (docker --shm-size).",
    )


def temporary_folder() -> Finding:
    """Check the folder of temporary files: TMPDIR or, without it, Python's default."""
    folder = os.environ.get("TMPDIR") or tempfile.gettempdir()
    if not os.access(folder, os.W_OK):
        return error("TMPDIR", f"{folder} is missing or not writable. Correct TMPDIR.")
    return ok("TMPDIR", f"{folder}, {shutil.disk_usage(folder).free / GB:.0f} GB free")


def c_compiler(*, gpus: bool) -> Finding:
    """Look for a C compiler, with which Triton builds the launchers of its kernels."""
    names = [os.environ["CC"]] if os.environ.get("CC") else COMPILERS
    if compiler := next(filter(None, map(shutil.which, names)), None):
        return ok("C compiler", compiler)
    text = f"none of {', '.join(names)} is on PATH"
    if not gpus:
        return ok("C compiler", f"{text}; only jobs on GPUs need one")
    return error("C compiler", f"{text}; Triton needs one on GPUs. Install gcc or load its module.")


def nvcc(*, gpus: bool) -> Finding:
    """Look for CUDA's compiler, which no rule needs, as DeepSpeed's check for it is disabled."""
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    compiler = shutil.which("nvcc") or shutil.which("nvcc", path=f"{home}/bin")
    if compiler or not gpus:
        return ok("nvcc", compiler or "none; only options that you add can need it")
    return warning(
        "nvcc",
        "not found on PATH or in CUDA_HOME. The configured backends do not need it. Options that "
        "you add (offloading, fused kernels) may need it: load a CUDA module for them.",
    )


def python() -> Finding:
    """Return the versions of Snakemake's Python and of Linux."""
    return ok("Python", f"{platform.python_version()} on Linux {platform.release()}")
