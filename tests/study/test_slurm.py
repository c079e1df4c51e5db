"""This workflow on a SLURM cluster: a study comes out as on one machine, and trouble is told.

Real daemons on this machine (cluster.py), the profile that users start from. A study of given
models is evaluated here and goes on there, from activations to tables, beside jobs to which
everything happens that happens on clusters (troubles.smk). One run meets all of it; in the next
the head process is killed; the last finds everything done.
"""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cluster as slurm
import pytest
from cluster import Cluster, processes, wait
from comparing import TEMPORARY, differing, final_files
from conftest import ROOT, Study
from given import Finished, begun

from crosslens.workflow.doctor.cluster import slurm_limits

PATIENCE = 1800  # seconds; a busy machine took more than 600
SHARES = {"share-0": 1, "share-1": 1, "share-2": 2, "share-3": 2, "share-4": 3}  # GPUs
RESULTS = "results/tiny/"
TARGETS = (
    *(f"table{number}" for number in range(1, 6)),
    f"{RESULTS}generalization/own/trio-r0/features.json",
    "troubles",
)
OFTEN = ("--slurm-init-seconds-before-status-checks", "6", "--retries", "0")

Contents = dict[Path, tuple[int, bytes]]


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


class Seen(NamedTuple):
    """What was observed of the first run, by the names of outputs."""

    head: Head
    job: dict[str, str]
    devices: dict[str, list[str]]
    node: dict[str, str]
    waiting: dict[str, str]  # what SLURM said of `whole` while the others ran
    cancelled: str
    lost: list[str]
    sound: list[str]


class Ended(NamedTuple):
    """How the first run ended, what SLURM then said of its jobs, and all that was made."""

    status: int
    output: str
    job: dict[str, dict[str, str]]
    made: Contents


class Refused(NamedTuple):
    """Jobs that a killed head process left, what the next one says to them, what they made."""

    left: set[str]
    status: int
    output: str
    made: Contents


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
def study(undisturbed: Finished, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Return a part of the undisturbed study, with a workflow of some more rules to finish it."""
    project = tmp_path_factory.mktemp("project")
    for path in ROOT.iterdir():
        (project / path.name).symlink_to(path)
    (project / "Snakefile").unlink()
    troubles = Path(__file__).with_name("troubles.smk")
    text = (ROOT / "Snakefile").read_text()
    (project / "Snakefile").write_text(f'{text}\n\ninclude: "{troubles}"\n')
    folder = tmp_path_factory.mktemp("cluster")
    study = begun(undisturbed, folder, "world", "models", "evaluation")
    return Study(study.folder, study.config, project)


@pytest.fixture(scope="module")
def start(cluster: Cluster, study: Study) -> Iterator[Callable[..., Head]]:
    """Return a function that starts the workflow on the cluster; kill what runs at the end."""
    heads = []

    def started(*targets: str) -> Head:
        log = study.folder / f"head-{len(heads)}.log"
        with log.open("w") as file:
            process = study.start(*OFTEN, "--", *targets, profile="slurm", output=file)
        heads.append(Head(process, log))
        return heads[-1]

    yield started
    for head in heads:
        head.process.kill()
        head.process.wait()


@pytest.fixture(scope="module")
def seen(cluster: Cluster, study: Study, start: Callable[..., Head]) -> Seen:
    """Do the first run among other people's jobs: one is cancelled, a node dies, others go on."""
    others = [cluster.occupy(node) for node in cluster.nodes]
    head = start(*TARGETS, "impossible")
    job = {name: submitted(cluster, head, name) for name in (*SHARES, "whole", "hung")}
    files = {name: study.folder / f"{name}.environment" for name in SHARES}
    head.until(lambda: all(file.is_file() for file in files.values()), "all shares run")
    waiting = cluster.job(job["whole"])
    devices = {name: environment(file)["CUDA_VISIBLE_DEVICES"] for name, file in files.items()}
    devices = {name: ids.split(",") for name, ids in devices.items()}
    node = {name: cluster.job(job[name])["NodeList"] for name in SHARES}
    (cancelled, *sound), lost = (
        [name for name in SHARES if node[name] == place] for place in cluster.nodes
    )
    cluster.kill_node("n2")
    slurm.ask("scancel", job[cancelled], *others)
    let_go(study, *sound, "whole")
    return Seen(head, job, devices, node, waiting, cancelled, lost, sound)


@pytest.fixture(scope="module")
def ended(cluster: Cluster, study: Study, seen: Seen) -> Ended:
    """Wait for the end of the first run; then remove what made it fail."""
    status, output = seen.head.end()
    job = {name: cluster.job(id_) for name, id_ in seen.job.items()}
    made = contents(study)
    cluster.start_node("n2")
    (study.folder / "mended").touch()
    return Ended(status, output, job, made)


@pytest.fixture(scope="module")
def refused(
    cluster: Cluster, study: Study, seen: Seen, ended: Ended, start: Callable[..., Head]
) -> Refused:
    """Kill the second run while its jobs run, and start the next one too soon."""
    missing = (seen.cancelled, *seen.lost, "hung")
    head = start(*TARGETS)
    left = {submitted(cluster, head, name) for name in missing}
    head.process.send_signal(signal.SIGKILL)
    head.process.wait()
    unlocked = study.snakemake("--unlock", profile="slurm")
    assert unlocked.returncode == 0, unlocked.stdout
    again = study.snakemake("--", *TARGETS, profile="slurm")
    let_go(study, *missing)
    wait(lambda: not cluster.jobs(folder=study.folder), PATIENCE, "what was left has ended")
    return Refused(left, again.returncode, again.stdout, contents(study))


@pytest.fixture(scope="module")
def last(start: Callable[..., Head], refused: Refused) -> tuple[int, str]:
    """Return the end of the third run."""
    return start(*TARGETS).end()


def submitted(cluster: Cluster, head: Head, name: str) -> str:
    """Id of the job that makes an output, as soon as SLURM has it."""
    comment = f"rule_{name.replace('-', '_wildcards_')}"
    return head.until(lambda: cluster.find(comment), f"{name} is submitted")


def environment(file: Path) -> dict[str, str]:
    """Return what `printenv` has written."""
    return dict(line.partition("=")[::2] for line in file.read_text().splitlines())


def let_go(study: Study, *names: str) -> None:
    """Let jobs end."""
    for name in names:
        (study.folder / f"{name}.go").touch()


def contents(study: Study) -> Contents:
    """Time and content of all that is made: the study's outputs and those of the troubled jobs."""
    names = [*SHARES, "whole", "hung", "failing", *map(str, final_files(study))]
    files = [study.folder / name for name in names if not TEMPORARY.search(name)]
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in files if file.is_file()}


def changed(before: Contents, after: Contents) -> list[Path]:
    """Return what was made again."""
    return [file for file in before if before[file] != after.get(file)]


def made(files: Iterable[Path], study: Study) -> set[str]:
    """Which of the troubled jobs have made their outputs."""
    return {file.name for file in files if file.parent == study.folder}


def test_a_cluster_leaves_nothing_behind() -> None:
    """Also when what it was started for fails."""
    with pytest.raises(ZeroDivisionError), slurm.running(nodes=1) as cluster:
        assert [f.status for f in slurm_limits({"x": {"gpu": 8, "runtime": 600}}, ROOT)] == ["ok"]
        (found,) = slurm_limits({"x": {"gpu": 9}}, ROOT)
        assert "no node has gpus 9 (largest 8)" in found.text
        cluster.occupy("n1")
        wait(processes, PATIENCE, "a job runs")
        raise ZeroDivisionError
    assert not cluster.home.exists()
    assert not any((slurm.CONFIGURATION / name).is_symlink() for name in slurm.FILES)
    programs = {Path(command.partition("\0")[0]).name for _, command, _ in slurm.listed()}
    assert not [name for name in programs if name.startswith(("munged", "slurm"))]
    assert not processes()


def test_a_job_is_given_as_many_gpus_as_it_asks_for(seen: Seen) -> None:
    assert {name: len(ids) for name, ids in seen.devices.items()} == SHARES


def test_jobs_that_run_at_once_have_different_gpus(seen: Seen) -> None:
    taken = [(seen.node[name], gpu) for name, ids in seen.devices.items() for gpu in ids]
    assert len(set(taken)) == len(taken) == sum(SHARES.values())
    assert {node for node, _ in taken} == {"n1", "n2"}


def test_a_job_of_all_gpus_waits_for_a_whole_node(study: Study, seen: Seen, ended: Ended) -> None:
    assert seen.waiting["JobState"] == "PENDING"
    whole = ended.job["whole"]
    assert whole["JobState"] == "COMPLETED"
    assert whole["StartTime"] >= max(ended.job[name]["EndTime"] for name in seen.sound)
    assert (study.folder / "whole").read_text() == "0,1,2,3,4,5,6,7\n"


def test_all_that_went_wrong_is_told_in_one_place(seen: Seen, ended: Ended) -> None:
    """A line for each job, at the end; what did not need them is done."""
    assert ended.status == 1
    _, _, text = ended.output.rpartition("\nFailed jobs:\n")
    told = dict(re.findall(r"^  \S+ (\S+): (.*?)(?: \(\S+\))?$", text, re.M))
    unavailable = told.pop("impossible")
    assert unavailable.startswith("SLURM sbatch failed") and "not available" in unavailable
    assert told == {
        seen.cancelled: "CANCELLED",
        **dict.fromkeys(seen.lost, "NODE_FAIL"),
        "hung": "TIMEOUT",
        "failing": "FAILED: no such optimizer: adamm",
    }


def test_jobs_that_were_left_are_not_submitted_again(refused: Refused) -> None:
    assert refused.status == 1
    (line,) = (line for line in refused.output.splitlines() if line.startswith("Error: "))
    assert "already waiting or running, from a previous run" in line
    assert refused.left <= set(re.findall(r"\d+", line.partition("scancel")[2]))


def test_reruns_make_what_is_missing_and_nothing_else(
    study: Study, seen: Seen, ended: Ended, refused: Refused, last: tuple[int, str]
) -> None:
    status, output = last
    assert status == 0 and "Nothing to be done" in output, output
    after = contents(study)
    assert made(ended.made, study) == {"whole", *seen.sound}
    assert made(after, study) == {*SHARES, "whole", "hung", "failing"}
    assert not changed(ended.made, after)
    assert not changed(refused.made, after)  # what jobs made whose head was gone counts as made


def test_the_cluster_computes_what_one_machine_computes(
    study: Study, undisturbed: Finished, ended: Ended
) -> None:
    """Byte for byte, but for times: crosscoder, features, tables; they count as made here, too."""
    made = {str(path).removeprefix(RESULTS) for path in final_files(study)}
    assert made >= {
        f"tables/table{n}.{form}" for n in range(1, 6) for form in ("csv", "pdf", "png")
    }
    assert made >= {
        "generalization/own/trio-r0/features.json",
        "interventions/own/trio-r0/base/outcomes.npz",
    }
    assert "crosscoders/own/trio-r0/crosscoder.safetensors" in made
    assert differing(study, undisturbed.study) == []
    assert (
        "Nothing to be done" in study.snakemake("--dry-run", "--cores", "1", "--", *TARGETS).stdout
    )
