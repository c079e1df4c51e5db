"""This workflow on a SLURM cluster: what its jobs are given, what goes wrong, and the rerun.

Real daemons on this machine (cluster.py), the profile users start from, a small part of the tiny
study. One run meets every misfortune at once; the tests say what was seen of it.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cluster as slurm
import pytest
from cluster import Cluster, processes, wait
from conftest import ROOT, TINY, Study

SHARDS = ("heldout", "0", "1", "2")
OUTPUTS = [
    *(f"results/tiny/activations/tiny/base/shard-{shard}.json" for shard in SHARDS),
    "results/tiny/data/traces.jsonl",
]
IMPORTS = [f"results/tiny/models/{family}/base" for family in ("hung", "broken")]
PATIENCE = 300  # seconds; a machine may be busy
SCHEDULED = ("--notemp", "--latency-wait", "10", "--slurm-init-seconds-before-status-checks", "4")


class Seen(NamedTuple):
    """What was observed of the troubled run."""

    output: str
    status: int
    jobs: dict[str, str]  # id by role: hung, cancelled, lost, whole (all GPUs of a node)
    given: dict[str, dict[str, str]]  # environment by job id
    node: dict[str, str]  # by job id
    waiting: dict[str, str]  # what SLURM said of `whole` while the others ran
    kept: dict[Path, tuple[int, bytes]]  # time and content of every output it left


def small(folder: Path) -> Study:
    """Few steps, few tokens, four shards; two more families, whose base models are imported."""
    study = Study(folder, TINY)
    study.change("world.base.steps", 10)
    study.change("world.teacher.steps", 10)
    study.change("traces.max_new_tokens", 16)
    study.change("activations.shards", len(SHARDS) - 1)
    study.change("activations.window", len(SHARDS) - 1)
    study.change("families.hung", {"label": "Hung", "base": "results/tiny/world/base"})
    study.change("families.broken", {"label": "Broken", "base": "broken"})
    study.model("broken")
    return study


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes with eight GPUs each."""
    if os.geteuid() != 0:
        pytest.skip("only root can start SLURM's daemons and install their packages")
    if slurm.foreign():
        pytest.skip(f"{slurm.CONFIGURATION} says that this machine belongs to a cluster")
    with slurm.running(nodes=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Study, subprocess.Popen]]:
    """The same outputs, made on this machine without a cluster, in the background."""
    study = small(tmp_path_factory.mktemp("local"))
    log = (study.folder / "output").open("w")
    process = study.start("--cores", "1", "--notemp", "--", *OUTPUTS, output=log)
    yield study, process
    process.kill()
    process.wait()
    log.close()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """The study on the cluster, which has a module system of its own."""
    study = small(tmp_path_factory.mktemp("cluster"))
    site = study.folder / "site.bash"
    site.write_text("module() { echo 'no such module' >&2; exit 1; }\n")
    study.change("resources.import_model", {"runtime": 1})
    study.change("resources.extract_activations", {"gpu": 1})
    study.change("resources.generate_traces", {"gpu": slurm.GPUS})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BASH_ENV", str(site))
        yield study


def script(job: str, rule: str) -> dict[int, dict[str, str]]:
    """Processes of a rule's script in a job, once it runs in the rule's environment."""
    found = processes(job, f".{rule}.py") if job else {}
    return {pid: environment for pid, environment in found.items() if "VIRTUAL_ENV" in environment}


def freeze(job: str, rule: str, sign: int = signal.SIGSTOP) -> dict[str, str]:
    """Stop a job's script, as a hanging GPU would; its environment, {} if it does not run yet."""
    found = script(job, rule)
    for pid in found:
        slurm.kill(pid, sign)
    return next(iter(found.values()), {})


@pytest.fixture(scope="module")
def seen(cluster: Cluster, study: Study, request: pytest.FixtureRequest) -> Seen:
    """The run in which a job hangs, one is cancelled, one fails, and a node dies."""
    # Other people's jobs: three GPUs of the first node are free, seven of the second.
    others = [
        slurm.ask(*("sbatch", "--parsable", f"--gpus={gpus}", f"--nodelist={node}"),
                    *("--output=/dev/null", "--wrap", "sleep 1000"))
        for node, gpus in (("n1", slurm.GPUS - len(SHARDS) + 1), ("n2", 1))
    ]  # fmt: skip
    log = study.folder / "output"
    with log.open("w") as file:
        run = study.start(
            *SCHEDULED, "--retries=0", "--", *OUTPUTS, *IMPORTS, profile="slurm", output=file
        )
        jobs = {"hung": ""}

        def running(comment: str, rule: str) -> tuple[str, dict[str, str]] | None:
            job = cluster.find(comment)
            environment = freeze(job, rule) if job else {}
            assert run.poll() is None, log.read_text()
            return (job, environment) if environment else None

        jobs["hung"], _ = wait(
            lambda: running("rule_import_model_wildcards_tiny_hung", "import_model"),
            PATIENCE,
            "the import runs",
        )
        given = {}
        for shard in SHARDS:
            comment = f"rule_extract_activations_wildcards_tiny_tiny_base_{shard}"
            job, given_ = wait(
                lambda c=comment: running(c, "extract_activations"),
                PATIENCE,
                "shards are extracted",
            )
            given[job] = given_
        request.getfixturevalue(
            "local"
        )  # it has the processor while the cluster's jobs stand still
        node = {job: cluster.job(job)["NodeList"] for job in given}
        (jobs["cancelled"], *sound), (jobs["lost"],) = (
            [job for job in given if node[job] == name] for name in cluster.nodes
        )
        jobs["whole"] = cluster.find("rule_generate_traces_wildcards_tiny")
        waiting = cluster.job(jobs["whole"])
        cluster.kill_node("n2")
        slurm.ask("scancel", jobs["cancelled"], others[0])
        for job in sound:
            freeze(job, "extract_activations", signal.SIGCONT)
        found = wait(lambda: script(jobs["whole"], "generate_traces"), PATIENCE, "traces are made")
        given[jobs["whole"]] = next(iter(found.values()))
        node[jobs["whole"]] = cluster.job(jobs["whole"])["NodeList"]
        status = run.wait(PATIENCE)
    cluster.start_node("n2")
    return Seen(log.read_text(), status, jobs, given, node, waiting, contents(study))


def contents(study: Study) -> dict[Path, tuple[int, bytes]]:
    """Time and content of every output of a study."""
    files = [path for path in (study.folder / "results").rglob("*") if path.is_file()]
    kept = [path for path in files if not {"logs", "benchmarks"} & {*path.parts}]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in kept}


def devices(seen: Seen, job: str) -> list[str]:
    """The GPUs a job was given."""
    return seen.given[job]["CUDA_VISIBLE_DEVICES"].split(",")


def test_a_job_is_given_as_many_gpus_as_it_asks_for(seen: Seen) -> None:
    for job in seen.given:
        assert len(devices(seen, job)) == (slurm.GPUS if job == seen.jobs["whole"] else 1)


def test_jobs_that_run_at_once_have_different_gpus(seen: Seen) -> None:
    places = [(seen.node[j], devices(seen, j)[0]) for j in seen.given if j != seen.jobs["whole"]]
    assert len(set(places)) == len(places) == len(SHARDS)


def test_a_job_of_all_gpus_waits_for_a_whole_node(seen: Seen) -> None:
    assert seen.waiting["JobState"] == "PENDING"
    assert sorted(devices(seen, seen.jobs["whole"])) == [str(n) for n in range(slurm.GPUS)]


def test_a_job_runs_in_its_rules_environment(seen: Seen) -> None:
    for environment in seen.given.values():
        assert Path(environment["VIRTUAL_ENV"]) == ROOT / ".venvs" / "analysis"
        assert environment["PYTHONPATH"].split(":")[0] == str(ROOT)
        assert environment["BASH_ENV"] == str(ROOT / "envs" / "module.bash")


def test_the_run_fails_but_finishes_what_it_can(seen: Seen, study: Study) -> None:
    assert seen.status != 0
    written = {path.relative_to(study.folder).as_posix() for path in seen.kept}
    assert len(written & {*OUTPUTS}) == len(OUTPUTS) - 2  # all but the cancelled and the lost one


@pytest.mark.parametrize(
    ("role", "said"),
    [
        ("cancelled", "failed, SLURM status is: 'CANCELLED'"),
        ("hung", "failed, SLURM status is: 'TIMEOUT'"),
        ("lost", "failed due to a node failure, SLURM status is: 'NODE_FAIL'"),
    ],
)
def test_what_ended_a_job_is_said(seen: Seen, role: str, said: str) -> None:
    assert f"SLURM-job '{seen.jobs[role]}' {said}" in seen.output


def test_a_failing_job_is_reported_with_its_own_line(seen: Seen) -> None:
    assert "SLURM status is: 'FAILED'" in seen.output
    assert "Error in rule import_model" in seen.output
    assert "Error: broken does not load" in seen.output


@pytest.fixture(scope="module")
def refused(cluster: Cluster, study: Study, seen: Seen) -> str:
    """What a new run says after the head process was killed while its jobs ran."""
    shutil.rmtree(study.folder / "broken")
    shutil.copytree(study.folder / "results" / "tiny" / "world" / "base", study.folder / "broken")
    wait(lambda: len(cluster.idle()) == len(cluster.nodes), PATIENCE, "the node is back")
    cluster.set_state("drain")  # jobs wait
    targets = (*SCHEDULED, "--", *OUTPUTS, *IMPORTS)
    run = study.start(*targets, profile="slurm", output=subprocess.DEVNULL)
    wait(lambda: len(cluster.jobs()) == 4, PATIENCE, "what is missing was submitted")
    run.kill()
    run.wait()
    unlocked = study.snakemake("--unlock", profile="slurm")
    assert unlocked.returncode == 0, unlocked.stdout
    again = study.snakemake(*targets, profile="slurm")
    assert again.returncode != 0
    assert len(cluster.jobs()) == 4
    return again.stdout


def test_jobs_left_behind_are_not_submitted_again(refused: str) -> None:
    assert "4 of the jobs to submit wait or run already, left by an earlier run" in refused


def test_the_rerun_finishes_and_keeps_what_was_finished(
    cluster: Cluster, study: Study, seen: Seen, refused: str
) -> None:
    slurm.ask("scancel", *cluster.jobs())
    cluster.set_state("resume")
    done = study.snakemake(*SCHEDULED, "--", *OUTPUTS, *IMPORTS, profile="slurm")
    assert done.returncode == 0, done.stdout[-20000:]
    after = contents(study)
    assert {path: after.get(path) for path in seen.kept} == seen.kept
    assert {*OUTPUTS} <= {path.relative_to(study.folder).as_posix() for path in after}
    again = study.snakemake("--dry-run", "--", *OUTPUTS, *IMPORTS, profile="slurm")
    assert "Nothing to be done" in again.stdout


def test_the_cluster_computes_what_this_machine_computes(
    study: Study, local: tuple[Study, subprocess.Popen]
) -> None:
    other, process = local
    assert process.wait(PATIENCE) == 0, (other.folder / "output").read_text()
    here = {path.relative_to(other.folder): data for path, (_, data) in contents(other).items()}
    there = {path.relative_to(study.folder): data for path, (_, data) in contents(study).items()}
    assert len(here) > 40
    assert [path for path in here if here[path] != there.get(path)] == []
