"""Concurrent jobs hold different GPUs, all or none, and a job that is killed frees its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crosslens.io.errors import InputError
from crosslens.workflow import gpu_locks

JOB = """
import sys, time
from pathlib import Path
from crosslens.posttraining import backend_process
from crosslens.workflow import gpu_locks as gpus
gpus.LOCKS, count, what = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
with gpus.acquire_gpus(count) as ids:
    start = time.time()
    print("held", *ids, flush=True)
    if what == "engine":
        backend_process.run_backend("engine", ["sh", "-c", "echo $$; exec sleep 600"])
    time.sleep(float(what))
    print("from", start, "to", time.time(), flush=True)
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three GPUs, and locks of this test's own."""
    monkeypatch.setattr(gpu_locks, "LOCKS", tmp_path)
    monkeypatch.setenv(gpu_locks.VISIBLE, "0,1,2")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def job(folder: Path, count: int, what: str = "0.3") -> subprocess.Popen:
    """Start a process that holds some GPUs for a while."""
    command = [sys.executable, "-c", JOB, str(folder), str(count), what]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen, word: str) -> list[str]:
    """Return what follows the word on the next line that starts with it."""
    for text in process.stdout:
        first, *rest = text.split()
        if first == word:
            return rest
    raise AssertionError(f"it never said {word}")


def uses(processes: list[subprocess.Popen]) -> Iterator[tuple[str, float, float]]:
    """(device, from, to) of every GPU that a process held."""
    for process in processes:
        ids, (start, _, end) = line(process, "held"), line(process, "from")
        assert process.wait() == 0
        yield from ((device, float(start), float(end)) for device in ids)


def test_concurrent_jobs_get_different_gpus_and_a_large_one_gets_all(tmp_path: Path) -> None:
    found = sorted(uses([job(tmp_path, count) for count in (1, 3, 1, 1, 2, 1)]))
    assert len(found) == 9
    for (device, _, end), (other, start, _) in zip(found, found[1:], strict=False):
        assert device != other or start >= end
    assert {device for device, _, _ in found} == {"0", "1", "2"}


def test_a_killed_job_frees_its_gpus(tmp_path: Path) -> None:
    held = job(tmp_path, 3, "600")
    assert line(held, "held") == ["0", "1", "2"]
    assert gpu_locks.take(1, gpu_locks.visible(), gpu_locks.lock_folder()) == {}
    held.kill()
    held.wait()
    with gpu_locks.acquire_gpus(3) as ids:
        assert ids == ["0", "1", "2"]


def test_what_a_lost_engine_uses_stays_taken(tmp_path: Path) -> None:
    held = job(tmp_path, 2, "engine")
    engine = int((line(held, "held"), next(held.stdout))[1])
    held.kill()
    held.wait()
    assert gpu_locks.take(2, gpu_locks.visible(), gpu_locks.lock_folder()) == {}
    os.kill(engine, signal.SIGKILL)
    while not (taken := gpu_locks.take(3, gpu_locks.visible(), gpu_locks.lock_folder())):
        time.sleep(0.01)
    gpu_locks.release(taken)


def test_all_or_none() -> None:
    with gpu_locks.acquire_gpus(2) as ids:
        assert os.environ[gpu_locks.VISIBLE] == "0,1" == ",".join(ids)
        folder = gpu_locks.lock_folder()
        assert gpu_locks.take(2, ["0", "1", "2"], folder) == {}
        one = gpu_locks.take(1, ["0", "1", "2"], folder)  # the failed attempt left it free
        assert list(one) == ["2"]
        gpu_locks.release(one)
    assert os.environ[gpu_locks.VISIBLE] == "0,1,2"
    assert gpu_locks.locks == []


def test_a_job_without_gpus_sees_none() -> None:
    with gpu_locks.acquire_gpus(0) as ids:
        assert ids == [] and os.environ[gpu_locks.VISIBLE] == ""


def test_an_engine_that_unsets_them_ends_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(gpu_locks.VISIBLE)
    with gpu_locks.acquire_gpus(0):
        del os.environ[gpu_locks.VISIBLE]  # as GRPO on a CPU does: empty is not unset to Ray


def test_slurm_has_given_a_job_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with gpu_locks.acquire_gpus(3) as ids:
        assert ids == ["0", "1", "2"]
        assert not list(tmp_path.iterdir())
    monkeypatch.delenv(gpu_locks.VISIBLE)  # what SLURM counts without device files
    monkeypatch.setattr(gpu_locks, "installed", list)
    with gpu_locks.acquire_gpus(1):
        assert gpu_locks.VISIBLE not in os.environ


def test_an_allocation_that_jobs_share_is_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with gpu_locks.acquire_gpus(1) as first, gpu_locks.acquire_gpus(0):
        monkeypatch.setenv(gpu_locks.VISIBLE, "0,1,2")
        with gpu_locks.acquire_gpus(1) as second:
            assert (first, second) == (["0"], ["1"])


def test_more_than_there_are_is_one_line() -> None:
    with pytest.raises(InputError, match="the job requests 4 GPUs, but this machine has 3"):
        gpu_locks.acquire_gpus(4).__enter__()
    with pytest.raises(InputError) as error:
        gpu_locks.check_machine({"train_sft": 8, "evaluate_model": 1}, None)
    assert str(error.value) == (
        "resources.train_sft.gpu: one job requests 8 GPUs, but this machine has 3 "
        "(CUDA_VISIBLE_DEVICES: 0,1,2). Request fewer GPUs, or run the job on another "
        "machine."
    )
    with pytest.raises(InputError, match="--resources gpu requests 8 GPUs, but this machine has 3"):
        gpu_locks.check_machine({"train_sft": 2}, 8)


def test_a_study_on_cpus_needs_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpu_locks.VISIBLE, "")
    gpu_locks.check_machine({"train_sft": 0, "all": 0}, 8)
    gpu_locks.check_machine({}, None)
