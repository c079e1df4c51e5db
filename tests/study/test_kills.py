"""A study that is killed, or loses a file, or finds the disk full, comes to the same end."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from comparing import differing, leftovers
from conftest import ENVIRONMENT, Study, jobs
from given import Finished, begun
from kills import Part, Run, finish, torment, unlock

from crosslens.workflow.earlier_runs import earlier_jobs

RESULTS = "results/tiny"
BASE = f"{RESULTS}/activations/own/base"
SHARD, COUNTS = f"{BASE}/shard-0", f"{BASE}/shard-0.json"
UNFINISHED = f"{BASE}/.shard-0.unfinished/base.h5"
CROSSCODER = f"{RESULTS}/crosscoders/own/sft-5-r0"
QUALITY = f"{CROSSCODER}/quality.json"
STATES = f"{RESULTS}/crosscoders/own/groups/sft/states-0"
FOUND = ("world", "models")  # what there is before the killing
ASKED = (
    f"{RESULTS}/evaluation/own/rl-5/results.json",
    f"{RESULTS}/metrics/own/overlap.csv",
    f"{RESULTS}/generalization/own/trio-r0/features.json",
    f"{RESULTS}/tables/table5.csv",
)


def test_twenty_kills_change_nothing(undisturbed: Finished, tmp_path: Path) -> None:
    study = begun(undisturbed, tmp_path, *FOUND, "evaluation/own/base")
    part = Part(ASKED, kills=20, longest=1.5, keep=FOUND)
    report = torment(study, undisturbed.study, part, seed=0)
    assert report.kills >= 20, report
    assert report.partial_files == report.differences == report.orphans == report.leftovers == 0
    assert report.jobs_repeated <= report.jobs_lost, report


def without_a_shard(undisturbed: Finished, folder: Path) -> Study:
    """Return the study with all shards but one of base, whose extraction is the next job."""
    study = begun(undisturbed, folder, *FOUND, "activations")
    shutil.rmtree(folder / BASE)
    return study


def wait_until(condition: object, seconds: float = 120) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_kill_between_a_file_and_its_record(undisturbed: Finished, tmp_path: Path) -> None:
    """The job has ended, all it makes is there, and Snakemake has not taken note of it."""
    study = without_a_shard(undisturbed, tmp_path)
    run = Run(study, "--", COUNTS)
    wait_until(run.jobs)
    run.process.send_signal(signal.SIGSTOP)
    wait_until((tmp_path / COUNTS).exists)
    wait_until(lambda: not run.jobs())
    run.process.kill()
    run.process.wait()
    assert run.orphans() == 0
    done = study.snakemake("--cores", "1", "--", COUNTS)
    assert done.returncode and "--unlock" in done.stdout, done.stdout
    unlock(study)
    again = finish(study, "--", COUNTS)
    assert [rule for rule, _ in again.started()] == ["extract_activations"]
    assert not differing(study, undisturbed.study)


def test_a_new_run_waits_for_what_a_killed_one_left(undisturbed: Finished, tmp_path: Path) -> None:
    """A job that is slow to end, here because it is stopped, is not joined by a second one."""
    study = without_a_shard(undisturbed, tmp_path)
    run = Run(study, "--", COUNTS)
    wait_until(run.jobs)
    (job, *_) = run.jobs()
    os.kill(job, signal.SIGSTOP)
    run.process.kill()
    run.process.wait()
    unlock(study)
    again = Run(study, "--", COUNTS)
    wait_until(lambda: "Job stats" in again.log.read_text())
    time.sleep(1)
    assert earlier_jobs(tmp_path) and not again.started()
    os.kill(job, signal.SIGCONT)
    assert again.process.wait() == 0, again.log.read_text()
    assert not earlier_jobs(tmp_path) and not differing(study, undisturbed.study)


def test_a_lost_temporary_file_is_made_again_and_nothing_else(
    undisturbed: Finished, tmp_path: Path
) -> None:
    study = begun(undisturbed, tmp_path, *FOUND, "activations", "crosscoders")
    (tmp_path / QUALITY).unlink()
    for folder in (SHARD, STATES):
        shutil.rmtree(tmp_path / folder)
    done = study.snakemake("--cores", "2", "--", QUALITY)
    assert done.returncode == 0, done.stdout
    wanted = {"extract_activations": 1, "train_crosscoders": 1, "evaluate_crosscoder": 1}
    assert jobs(done.stdout) == wanted
    assert not differing(study, undisturbed.study)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of a few megabytes, unmounted afterwards."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path, leaving: int) -> Path:
    """Write a file that takes all but some bytes of a disk."""
    free = os.statvfs(disk)
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - leaving)
    return ballast


@pytest.mark.parametrize("leaving", [400_000, 0])
def test_a_full_disk(undisturbed: Finished, small_disk: Path, leaving: int) -> None:
    """With room for logs, but not for a shard: one line. With none at all: nothing is harmed."""
    study = without_a_shard(undisturbed, small_disk)
    study.command()  # writes the configuration
    ballast = fill(small_disk, leaving)
    done = study.snakemake("--cores", "1", "--", COUNTS)
    assert done.returncode, done.stdout
    assert "No space left on device" in done.stdout, done.stdout
    if leaving:
        assert f"Error: {UNFINISHED}: cannot be written (No space left on device)" in done.stdout
        assert "Traceback" not in done.stdout
    assert not differing(study, undisturbed.study)
    assert not leftovers(study)
    ballast.unlink()
    unlock(study)
    finish(study, "--", COUNTS)
    assert not differing(study, undisturbed.study)


# What lets root read every file is taken from it.
UNPRIVILEGED = [] if os.geteuid() else ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


@pytest.mark.parametrize(
    ("target", "hidden"),
    [
        (f"{RESULTS}/models/own/rl-5", "own/rl/model.safetensors"),
        (f"{RESULTS}/evaluation/own/base/results.json", f"{RESULTS}/world/benchmarks/sciq.jsonl"),
        (COUNTS, f"{RESULTS}/activations/own/corpus.h5"),
    ],
)
def test_a_file_that_may_not_be_read_is_one_line(
    undisturbed: Finished, tmp_path: Path, target: str, hidden: str
) -> None:
    study = without_a_shard(undisturbed, tmp_path)
    shutil.rmtree(tmp_path / RESULTS / "models" / "own" / "rl-5")
    (tmp_path / hidden).chmod(0)
    command = [*UNPRIVILEGED, *study.command("--cores", "1", "--", target)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | ENVIRONMENT)
    said = done.stdout + done.stderr
    assert done.returncode, said
    assert f"Error: {hidden}: no permission to read or write it. Correct its permissions" in said
    assert "Traceback" not in said
    (tmp_path / hidden).chmod(0o600)
    assert not differing(study, undisturbed.study) and not (tmp_path / target).exists()
