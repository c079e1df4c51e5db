"""Kill a study at random moments, rerun it, and hold all it makes against an undisturbed run.

    python tests/workflow/kills.py [KILLS [SEED]]

takes the whole smallest study, training with the real engines included, and ends with one line of
JSON.
"""

import filecmp
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from conftest import ENVIRONMENT, TINY, Study

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
WHOM = ("group", "workflow", "job")  # the workflow with its jobs, the workflow alone, a job alone
SCRIPT = b".snakemake/scripts/"
AT_WORK = 0.9  # share of kills that come when jobs run; the others may meet Snakemake's start
# What is not the same twice, for it holds times of day or seconds.
TIMED = re.compile(
    r"/(logs|benchmarks)/|\.pdf$|/report\.html$|/summary\.json$|/world/\w+-loss\.csv$"
)
TEMPORARY = re.compile(r"/shard-\w+\.h5$|/state-\d+\.safetensors$")
STARTED = re.compile(r"^(?:local)?rule (\w+):\n(?:    .*\n)*?    output: ([^,\n]+)", re.MULTILINE)
ENDED = re.compile(r"^Finished jobid: |^Error in rule ", re.MULTILINE)


class Report(NamedTuple):
    """What the killing showed. `jobs_repeated` is at most `jobs_lost`, those that kills met."""

    kills: int
    partial_files: int
    jobs_repeated: int
    differences: int
    jobs_lost: int
    orphans: int
    leftovers: int
    moments: dict[str, int]


class Run:
    """A Snakemake process, the head of a process group of its own, its words in a file."""

    def __init__(self, study: Study, *arguments: str) -> None:
        logs = study.folder / "runs"
        logs.mkdir(exist_ok=True)
        self.log = logs / f"{len(list(logs.iterdir())):03}.log"
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(
                study.command("--cores", "2", *arguments),
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=os.environ | ENVIRONMENT,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def started(self) -> list[tuple[str, str]]:
        """(rule, first output) of all jobs that were started, repeatedly if so."""
        return STARTED.findall(self.log.read_text())

    def running(self) -> int:
        """How many jobs were started and have neither finished nor failed."""
        return len(self.started()) - len(ENDED.findall(self.log.read_text()))

    def wait_for_a_job(self) -> None:
        """Wait until a job runs, or all is over: starting takes Snakemake longer than many jobs."""
        while self.process.poll() is None and not self.running():
            time.sleep(0.05)

    def jobs(self) -> list[int]:
        """The processes of scripts that are running."""
        return [pid for pid in with_mark(self.process.pid) if runs_script(pid)]

    def kill(self, whom: str, number: signal.Signals, draw: random.Random) -> bool:
        """Send a signal; whether there was anyone to take it."""
        jobs = self.jobs() if whom == "job" else []
        if whom == "job" and not jobs:
            return False
        with suppress(ProcessLookupError):
            if whom == "group":
                os.killpg(self.process.pid, number)
            else:
                os.kill(draw.choice(jobs) if jobs else self.process.pid, number)
            return True
        return False

    def orphans(self, seconds: float = 30) -> int:
        """Processes that are left some time after the workflow has ended, whatever their parent."""
        until = time.monotonic() + seconds
        while (left := with_mark(self.process.pid)) and time.monotonic() < until:
            time.sleep(0.1)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return len(left)


def with_mark(workflow: int) -> list[int]:
    """The processes that have a workflow's number in their environment: its jobs and engines."""
    mark, found = f"CROSSLENS_WORKFLOW={workflow}\0".encode(), []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (entry / "environ").read_bytes() + b"\0":
                found.append(int(entry.name))
    return found


def runs_script(pid: int) -> bool:
    """Whether a process is Python on a rule's script."""
    with suppress(OSError):
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return SCRIPT in arguments[1] if len(arguments) > 1 else False
    return False


def final_files(study: Study) -> Iterator[Path]:
    """What can be seen under its final name, relative to the study's folder; nothing hidden."""
    for folder, folders, files in os.walk(study.folder / "results"):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = (Path(folder) / name).relative_to(study.folder)
            if not name.startswith(".") and not TIMED.search(path.as_posix()):
                yield path


class Watch(threading.Thread):
    """Looks all the time whether any file has another size than it will have."""

    def __init__(self, study: Study, undisturbed: Study) -> None:
        super().__init__(daemon=True)
        self.study, self.partial, self.done = study, set(), threading.Event()
        self.sizes = {
            path: (undisturbed.folder / path).stat().st_size for path in final_files(undisturbed)
        }

    def run(self) -> None:
        while not self.done.wait(0.05):
            for path in final_files(self.study):
                with suppress(FileNotFoundError):
                    size = (self.study.folder / path).stat().st_size
                    if size != self.sizes.get(path, size):
                        self.partial.add(path)

    def stop(self) -> None:
        """Look no more."""
        self.done.set()
        self.join()


def differing(study: Study, undisturbed: Study) -> list[Path]:
    """The files there that are not, byte for byte, those of the undisturbed run."""
    return [
        path
        for path in final_files(study)
        if not (undisturbed.folder / path).exists()
        or not filecmp.cmp(study.folder / path, undisturbed.folder / path, shallow=False)
    ]


def unlock(study: Study) -> None:
    """Take away the lock that a killed workflow leaves, as its message says."""
    if any((study.folder / ".snakemake" / "locks").glob("*")):
        done = study.snakemake("--unlock")
        assert done.returncode == 0, done.stdout


def finish(study: Study, *arguments: str) -> Run:
    """Run to the end."""
    run = Run(study, *arguments)
    assert run.process.wait() == 0, run.log.read_text()[-20000:]
    return run


def forget(study: Study, keep: tuple[str, ...]) -> None:
    """Delete the study's results, but for the folders `keep`."""
    for path in (study.folder / "results" / study.config["study"]).iterdir():
        if path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def stamps(study: Study) -> set[Path]:
    """Snakemake's own marks in directories that are outputs."""
    return set((study.folder / "results").rglob(".snakemake_timestamp"))


def repeated(runs: list[Run]) -> int:
    """Jobs that were started more than once on the way to one end."""
    started = [job for run in runs for job in run.started()]
    return len(started) - len(set(started))


def torment(
    study: Study,
    undisturbed: Study,
    *targets: str,
    kills: int,
    longest: float,
    seed: int,
    keep: tuple[str, ...] = (),
) -> Report:
    """Run a study to its end with `kills` kills, up to `longest` seconds apart.

    A study that ends before is made to forget all but `keep`, and runs on. `undisturbed` has run
    with --notemp, so that temporary files can be compared too.
    """
    draw = random.Random(seed)
    watch = Watch(study, undisturbed)
    watch.start()
    episodes: list[list[Run]] = [[]]  # each ends with a finished study
    seen: set[Path] = set()
    moments: Counter[str] = Counter()
    lost = orphans = 0
    run = None
    while moments.total() < kills:
        if run is None:
            unlock(study)
            run = Run(study, "--retries", str(kills), "--", *targets)
            episodes[-1].append(run)
        if draw.random() < AT_WORK:
            run.wait_for_a_job()
        time.sleep(longest * draw.random())
        whom, number, running = draw.choice(WHOM), draw.choice(SIGNALS), run.running()
        if run.kill(whom, number, draw):
            moments[f"{number.name} to {whom}"] += 1
            lost += 1 if whom == "job" else running
            print(f"{number.name} to {whom}, {running} jobs running", file=sys.stderr, flush=True)
        if whom == "job" and run.process.poll() is None:
            continue
        status = run.process.wait(timeout=900)
        orphans += run.orphans()
        seen |= set(differing(study, undisturbed))
        if status == 0:
            forget(study, keep)
            episodes.append([])
        run = None
    if run is not None:
        run.process.wait()
    unlock(study)
    episodes[-1].append(finish(study, "--", *targets))
    watch.stop()
    wanted = {path for path in final_files(undisturbed) if not TEMPORARY.search(path.as_posix())}
    return Report(
        kills=moments.total(),
        partial_files=len(watch.partial | seen),
        jobs_repeated=sum(map(repeated, episodes)),
        differences=len({*differing(study, undisturbed), *(wanted - set(final_files(study)))}),
        jobs_lost=lost,
        orphans=orphans,
        leftovers=len({*(study.folder / "results").rglob(".*")} - stamps(study)),
        moments=dict(sorted(moments.items())),
    )


def main(kills: int = 50, seed: int = 0) -> None:
    """The long form."""
    with tempfile.TemporaryDirectory(prefix="crosslens-soak-") as folder:
        studies = [Study(Path(folder, name), TINY) for name in ("undisturbed", "killed")]
        for study in studies:
            study.folder.mkdir()
        started = time.monotonic()
        finish(studies[0], "--notemp")
        longest = (time.monotonic() - started) / 8
        report = torment(*reversed(studies), kills=kills, longest=longest, seed=seed)
    print(json.dumps(report._asdict()))
    sys.exit(report.kills < kills or report.partial_files + report.differences > 0)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
