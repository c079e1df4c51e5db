"""This workflow on a SLURM cluster: a study comes out as on one machine, and trouble is told.

Real daemons on this machine (cluster.py), the profile that users start from. Two workflows run
side by side, for most of the second is waiting: a study of given models, whose head process is
killed on the way, and jobs to which everything happens that happens on clusters (troubles.smk).
"""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cluster as slurm
import pytest
from cluster import Cluster, processes, wait
from conftest import Study
from given import Finished, begun
from kills import TEMPORARY, differing, final_files

PATIENCE = 600  # seconds; a machine may be busy
OFTEN = ("--slurm-init-seconds-before-status-checks", "3")
SHARES = {"share-0": 1, "share-1": 1, "share-2": 2, "share-3": 2, "share-4": 3}  # GPUs
STARTED = re.compile(
    r"^(?:local)?rule \w+:\n(?:    .*\n)*?    output: (.+)\n(?:    .*\n)*?    jobid: (\d+)$", re.M
)


class Head(NamedTuple):
    """A workflow's head process, and where it speaks."""

    process: subprocess.Popen
    log: Path

    def until(self, condition: Callable[[], object], what: str) -> object:
        """Wait for something while it runs."""

        def met() -> object:
            return condition() or (self.process.poll() is not None and "ended")

        value = wait(met, PATIENCE, what)
        assert value != "ended", self.log.read_text()
        return value

    def end(self) -> tuple[int, str]:
        """Status and words at its end."""
        return self.process.wait(PATIENCE), self.log.read_text()

    def finished(self) -> set[str]:
        """The outputs of the jobs that it has seen finish."""
        text = self.log.read_text()
        ids = set(re.findall(r"^Finished jobid: (\d+)", text, re.M))
        return {
            path for paths, id_ in STARTED.findall(text) if id_ in ids for path in paths.split(", ")
        }


@pytest.fixture(scope="module", autouse=True)
def root() -> None:
    """Everything here starts daemons."""
    if os.geteuid() != 0:
        pytest.skip("only root can start SLURM's daemons and install their packages")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes with eight GPUs each."""
    with slurm.running(nodes=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def start(cluster: Cluster) -> Iterator[Callable[..., Head]]:
    """Starts the workflow of a study on the cluster; what runs at the end is killed."""
    heads = []

    def started(study: Study, *arguments: str) -> Head:
        log = study.folder / f"head-{len(heads)}.log"
        with log.open("w") as file:
            process = study.start(*OFTEN, *arguments, profile="slurm", output=file)
        heads.append(Head(process, log))
        return heads[-1]

    yield started
    for head in heads:
        head.process.kill()
        head.process.wait()


class Troubles(NamedTuple):
    """What was seen of the jobs of troubles.smk, by their outputs' names."""

    study: Study
    head: Head
    job: dict[str, str]
    devices: dict[str, list[str]]
    node: dict[str, str]
    waiting: dict[str, str]  # what SLURM said of `whole` while the others ran
    cancelled: str
    lost: list[str]
    sound: list[str]


class Told(NamedTuple):
    """How the troubled workflow ended, and what its next run made."""

    status: int
    output: str
    whole: dict[str, str]
    sound: list[dict[str, str]]
    kept: dict[Path, tuple[int, bytes]]
    rerun: Head


@pytest.fixture(scope="module")
def study(
    undisturbed: Finished, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Study:
    """The undisturbed study, to be made once more."""
    return begun(undisturbed, tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="module")
def first(study: Study, start: Callable[..., Head]) -> Head:
    """The study's workflow, begun."""
    return start(study)


@pytest.fixture(scope="module")
def troubles(
    cluster: Cluster,
    first: Head,
    start: Callable[..., Head],
    tmp_path_factory: pytest.TempPathFactory,
) -> Troubles:
    """Jobs run beside other people's; then one is cancelled, and a node dies; the others go on."""
    study = Study(tmp_path_factory.mktemp("troubles"), {})
    study.snakefile = Path(__file__).with_name("troubles.smk")
    others = [cluster.occupy(node) for node in cluster.nodes]
    head = start(study, "--retries", "0")
    job = {
        name: head.until(lambda name=name: cluster.find(f"rule_{name}"), f"{name} is submitted")
        for name in ("hung", "whole")
    }
    files = {name: study.folder / f"{name}.environment" for name in SHARES}
    head.until(lambda: all(file.is_file() for file in files.values()), "all shares run")
    waiting = cluster.job(job["whole"])
    given = {name: environment(file) for name, file in files.items()}
    job |= {name: values["SLURM_JOB_ID"] for name, values in given.items()}
    node = {name: cluster.job(job[name])["NodeList"] for name in SHARES}
    (cancelled, *sound), lost = (
        [name for name in SHARES if node[name] == place] for place in cluster.nodes
    )
    cluster.kill_node("n2")
    slurm.ask("scancel", job[cancelled], *others)
    for name in (*sound, "whole"):
        let_go(study, name)
    devices = {name: given[name]["CUDA_VISIBLE_DEVICES"].split(",") for name in SHARES}
    return Troubles(study, head, job, devices, node, waiting, cancelled, lost, sound)


@pytest.fixture(scope="module")
def refused(
    cluster: Cluster, study: Study, first: Head, troubles: Troubles
) -> tuple[list[str], subprocess.CompletedProcess]:
    """Jobs that were left by a head process that was killed, and what the next run says to them."""
    frozen = first.until(lambda: processes(script=".extract_activations.py"), "shards are made")
    for pid in frozen:
        slurm.kill(pid, signal.SIGSTOP)
    first.process.kill()
    first.process.wait()
    unlocked = study.snakemake("--unlock", profile="slurm")
    assert unlocked.returncode == 0, unlocked.stdout
    left = [values["SLURM_JOB_ID"] for values in frozen.values()]
    return left, study.snakemake(profile="slurm")


@pytest.fixture(scope="module")
def second(
    cluster: Cluster, study: Study, first: Head, start: Callable[..., Head], refused: tuple
) -> tuple[Head, dict[Path, tuple[int, bytes]]]:
    """The study goes on, after what was left has been cancelled; what it had made so far."""
    slurm.ask("scancel", *cluster.jobs(folder=study.folder))
    wait(lambda: not cluster.jobs(folder=study.folder), PATIENCE, "what was left has ended")
    kept = contents(study.folder / path for path in first.finished() if not TEMPORARY.search(path))
    return start(study), kept


@pytest.fixture(scope="module")
def told(cluster: Cluster, troubles: Troubles, second: tuple, start: Callable[..., Head]) -> Told:
    """The end of the troubled workflow, and its next run, begun."""
    study, head = troubles.study, troubles.head
    status, output = head.end()
    whole, *sound = (cluster.job(troubles.job[name]) for name in ("whole", *troubles.sound))
    kept = contents(study.folder / name for name in ("whole", *troubles.sound))
    cluster.start_node("n2")
    (study.folder / "mended").touch()
    for name in (troubles.cancelled, *troubles.lost, "hung"):
        let_go(study, name)
    return Told(status, output, whole, sound, kept, start(study))


def environment(file: Path) -> dict[str, str]:
    """What `printenv` has written."""
    return dict(line.partition("=")[::2] for line in file.read_text().splitlines())


def let_go(study: Study, name: str) -> None:
    """Let a job end."""
    (study.folder / f"{name}.go").touch()


def contents(paths: Iterator[Path]) -> dict[Path, tuple[int, bytes]]:
    """Time and content of files and of all in folders."""
    files = [file for path in paths for file in (path, *path.rglob("*")) if file.is_file()]
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


def test_a_cluster_leaves_nothing_behind() -> None:
    """Also when what it was started for fails."""
    with pytest.raises(ZeroDivisionError), slurm.running(nodes=1) as cluster:
        cluster.occupy("n1")
        wait(processes, PATIENCE, "a job runs")
        raise ZeroDivisionError
    assert not cluster.home.exists()
    assert not any((slurm.CONFIGURATION / name).is_symlink() for name in slurm.FILES)
    names = [command for _, command, _ in slurm.listed()]
    assert not [name for name in names if re.match(r"(\S*/)?(munged|slurm)", name)]
    assert not processes()


def test_a_job_is_given_as_many_gpus_as_it_asks_for(troubles: Troubles) -> None:
    assert {name: len(ids) for name, ids in troubles.devices.items()} == SHARES


def test_jobs_that_run_at_once_have_different_gpus(troubles: Troubles) -> None:
    taken = [(troubles.node[name], gpu) for name, ids in troubles.devices.items() for gpu in ids]
    assert len(set(taken)) == len(taken) == sum(SHARES.values())
    assert len({node for node, _ in taken}) == 2


def test_a_job_of_all_gpus_waits_for_a_whole_node(troubles: Troubles, told: Told) -> None:
    assert troubles.waiting["JobState"] == "PENDING"
    assert told.whole["JobState"] == "COMPLETED"
    assert told.whole["StartTime"] >= max(job["EndTime"] for job in told.sound)
    given = (troubles.study.folder / "whole").read_text().strip()
    assert given == ",".join(map(str, range(slurm.GPUS)))


def test_jobs_left_behind_are_not_submitted_again(
    refused: tuple[list[str], subprocess.CompletedProcess],
) -> None:
    left, again = refused
    assert again.returncode == 1
    (line,) = (line for line in again.stdout.splitlines() if line.startswith("Error: "))
    assert "wait or run already, left by an earlier run" in line
    assert set(left) <= set(re.findall(r"\d+", line.partition("scancel")[2]))


def test_a_run_ends_with_all_that_went_wrong(troubles: Troubles, told: Told) -> None:
    """In one place, at its end; what else it could do is done."""
    assert told.status == 1
    _, _, end = told.output.partition("Exiting because a job execution failed")
    said = dict(re.findall(r"SLURM-job '(\d+)' failed\b.*? SLURM status is: '(\w+)'", end))
    expected = {troubles.job[troubles.cancelled]: "CANCELLED", troubles.job["hung"]: "TIMEOUT"}
    expected |= dict.fromkeys((troubles.job[name] for name in troubles.lost), "NODE_FAIL")
    assert expected.items() <= said.items()
    assert [said[job] for job in said.keys() - expected.keys()] == ["FAILED"]
    assert "Error in rule failing" in end and "no such optimizer: adamm" in end
    assert {path.name for path in told.kept} == {"whole", *troubles.sound}


def test_the_next_run_makes_what_is_missing_and_nothing_else(
    troubles: Troubles, told: Told
) -> None:
    status, output = told.rerun.end()
    assert status == 0, output
    assert told.rerun.finished() >= {troubles.cancelled, *troubles.lost, "hung", "failing"}
    assert not told.rerun.finished() & {path.name for path in told.kept}
    assert contents(told.kept) == told.kept


def test_a_study_whose_head_was_killed_goes_on(
    study: Study, first: Head, second: tuple[Head, dict[Path, tuple[int, bytes]]]
) -> None:
    head, kept = second
    status, output = head.end()
    assert status == 0, output
    assert {"base", "sft-5", "rl-5"} <= {path.parent.name for path in kept}
    assert not head.finished() & first.finished()
    assert contents(kept) == kept


def test_the_cluster_computes_what_one_machine_computes(
    study: Study, undisturbed: Finished, second: tuple
) -> None:
    """Byte for byte: models, crosscoders, features, tables; and it counts as done there as well."""
    assert second[0].end()[0] == 0
    wanted = {path for path in final_files(undisturbed.study) if not TEMPORARY.search(str(path))}
    assert wanted - set(final_files(study)) == set()
    assert len(wanted) > 100
    assert differing(study, undisturbed.study) == []
    done = study.snakemake("--dry-run", "--cores", "1")
    assert "Nothing to be done" in done.stdout
