"""Kills, a full disk, an unreadable and a lost file: a rerun makes what an undisturbed run makes.

The short form of kills.py, on models that were not trained.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, ROOT, TINY, Study, jobs
from kills import Run, differing, finish, torment, unlock

KILLS = 20
TARGETS = ("table2", "figure4")
ACTIVATIONS = "results/tiny/activations/tiny"
SHARD = f"{ACTIVATIONS}/base/shard-0.h5"
# root may read everything: it gives up that right
AS_ANYONE = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all")
FULL = """
mount -t tmpfs -o size={size} tmpfs {folder}
"$@"
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study that has its world and its models, and nothing of what comes after."""
    study = Study(tmp_path_factory.mktemp("prepared"), TINY)
    study.change("activations.window", 2)
    finish(study, "--", "results/tiny/world/tokenizer")
    world = study.folder / "results" / "tiny" / "world"
    command = [ROOT / ".venvs" / "analysis" / "bin" / "python"]
    command += [Path(__file__).with_name("untrained_models.py"), world / "tokenizer"]
    subprocess.run([*command, world.parent / "models" / "tiny"], check=True, env=ENVIRONMENT)
    return study


def copied(study: Study, folder: Path) -> Study:
    """The study in another folder."""
    shutil.copytree(study.folder, folder)
    return Study(folder, study.config)


@pytest.fixture(scope="module")
def undisturbed(prepared: Study, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, float]:
    """A study run to its end, temporary files kept, and the seconds it took."""
    study = copied(prepared, tmp_path_factory.mktemp("undisturbed") / "study")
    started = time.monotonic()
    finish(study, "--notemp", "--", *TARGETS)
    return study, time.monotonic() - started


def test_after_any_kills_the_results_are_those_of_an_undisturbed_run(
    prepared: Study, undisturbed: tuple[Study, float], tmp_path: Path
) -> None:
    calm, seconds = undisturbed
    study = copied(prepared, tmp_path / "study")
    longest, keep = seconds / 8, ("world", "models")
    report = torment(study, calm, *TARGETS, kills=KILLS, longest=longest, seed=0, keep=keep)
    assert report.kills == KILLS
    assert (report.partial_files, report.differences, report.leftovers) == (0, 0, 0), report
    assert report.orphans == 0, report
    assert report.jobs_repeated <= report.jobs_lost, report


def test_a_workflow_that_was_killed_says_how_to_unlock_it(prepared: Study, tmp_path: Path) -> None:
    study = copied(prepared, tmp_path / "study")
    run = Run(study, "--", SHARD)
    run.wait_for_a_job()
    os.killpg(run.process.pid, signal.SIGKILL)
    run.process.wait()
    assert not run.orphans()
    done = study.snakemake("--cores", "2", "--", SHARD)
    assert done.returncode != 0 and "--unlock" in done.stdout
    unlock(study)
    assert study.snakemake("--dry-run", "--cores", "2", "--", SHARD).returncode == 0


def test_a_full_disk_is_one_line_and_the_rerun_goes_on(
    undisturbed: tuple[Study, float], tmp_path: Path
) -> None:
    """A file system of a few pages, in a mount namespace: it needs no root and leaves nothing."""
    study = copied(undisturbed[0], tmp_path / "study")
    (study.folder / SHARD).unlink()
    folder = study.folder / ACTIVATIONS / "base"
    for file in folder.iterdir():
        file.unlink()
    mount = FULL.format(size="64k", folder=folder)
    command = ["unshare", "--map-root-user", "--mount", "bash", "-c", mount, "bash"]
    command += study.command("--cores", "2", "--", SHARD)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode != 0
    lines = {line for line in done.stdout.splitlines() if line.startswith("Error: ")}
    assert lines == {
        "Error: no space left on the disk: free some and run again; what is finished is kept"
    }, done.stdout
    finish(study, "--notemp", "--", SHARD)
    assert not differing(study, undisturbed[0])


def test_an_unreadable_file_is_one_line(undisturbed: tuple[Study, float], tmp_path: Path) -> None:
    study = copied(undisturbed[0], tmp_path / "study")
    (study.folder / SHARD).unlink()
    weights = study.folder / "results/tiny/models/tiny/base/model.safetensors"
    weights.chmod(0)
    command = [*AS_ANYONE, *study.command("--cores", "2", "--notemp", "--", SHARD)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    lines = {line for line in done.stdout.splitlines() if line.startswith("Error: ")}
    assert len(lines) == 1 and "models/tiny/base" in lines.pop(), done.stdout
    weights.chmod(0o644)
    finish(study, "--notemp", "--", SHARD)
    assert not differing(study, undisturbed[0])


def test_a_lost_temporary_file_is_made_again_alone(
    undisturbed: tuple[Study, float], tmp_path: Path
) -> None:
    study = copied(undisturbed[0], tmp_path / "study")
    state = "results/tiny/crosscoders/tiny/trio-r0/state-0.safetensors"
    for lost in (SHARD, state, "results/tiny/crosscoders/tiny/trio-r0/log-0.csv"):
        (study.folder / lost).unlink()
    planned = study.snakemake("--dry-run", "--cores", "2", "--notemp", "--", state)
    assert jobs(planned.stdout) == {"extract_activations": 1, "train_crosscoder": 1}
    finish(study, "--notemp", "--", state)
    assert not differing(study, undisturbed[0])
