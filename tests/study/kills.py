"""Kill a study at random moments, rerun it, and hold all it makes against an undisturbed run.

    python tests/study/kills.py [KILLS [SEED]]

takes the whole smallest study, training with the real engines included, and ends with one line of
JSON.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from comparing import TEMPORARY, Watch, differing, final_files, leftovers
from conftest import ENVIRONMENT, TINY, Study

from crosslens.workflow.processes import descendants

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# The workflow with its jobs, the workflow alone, a job alone, a process that a job started alone.
WHOM = ("group", "workflow", "job", "engine")
SCRIPT = b".snakemake/scripts/"
MODELS = ("results/tiny/models/tiny/sft-5", "results/tiny/models/tiny/rl-5")
AT_WORK = 0.9  # share of kills that come when jobs run; the others may meet Snakemake's start
TWICE = 0.3  # share of ends of a workflow that are followed by SIGKILL within a second
STARTED = re.compile(r"^(?:local)?rule (\w+):\n(?:    .*\n)*?    output: ([^,\n]+)", re.MULTILINE)
EVENT = re.compile(
    r"^(?:(?:local)?rule (\w+)|Error in rule \w+):\n(?:    .*\n)*?    jobid: (\d+)"
    r"|^Finished jobid: (\d+)",
    re.MULTILINE,
)


class Part(NamedTuple):
    """Files to make under kills, which are spread over the jobs that this takes: each comes up to
    `longest` seconds after its share of the jobs is done.

    When all are made before the last kill, all results but the folders `keep` are forgotten.
    """

    targets: tuple[str, ...]
    kills: int
    longest: float
    keep: tuple[str, ...] = ()


class Report(NamedTuple):
    """What the killing showed; of the jobs that kills met, `jobs_lost`, some came to their ends."""

    kills: int
    partial_files: int
    jobs_repeated: int
    differences: int
    jobs_lost: int
    orphans: int
    leftovers: int
    moments: dict[str, int]
    rules: dict[str, int]  # at work when a kill came


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

    def running(self) -> list[str]:
        """Return the rules of jobs that were started and have neither finished nor failed."""
        running = {}
        for rule, jobid, finished in EVENT.findall(self.log.read_text()):
            if rule:
                running[jobid] = rule
            else:
                running.pop(jobid or finished, None)
        return list(running.values())

    def finished(self) -> int:
        """How many jobs came to their ends."""
        return self.log.read_text().count("\nFinished jobid: ")

    def total(self) -> int:
        """How many jobs there were to do, none before that is known."""
        found = re.search(r"^total +(\d+)$", self.log.read_text(), re.MULTILINE)
        return int(found[1]) if found else 0

    def jobs(self) -> list[int]:
        """Return the processes of scripts that are running."""
        return [pid for pid in with_mark(self.process.pid) if runs_script(pid)]

    def engines(self) -> list[int]:
        """Return what scripts have started: engines, their helpers, and what watches over them."""
        return [pid for job in self.jobs() for pid in descendants(job)]

    def kill(self, whom: str, number: signal.Signals, draw: random.Random) -> bool:
        """Send a signal; whether there was anyone to take it."""
        if self.process.poll() is not None:
            return False
        if whom == "group":
            os.killpg(self.process.pid, number)
            return True
        found = {"workflow": [self.process.pid], "job": self.jobs(), "engine": self.engines()}[whom]
        with suppress(IndexError, ProcessLookupError):
            os.kill(draw.choice(found), number)
            return True
        return False

    def orphans(self, seconds: float = 30) -> int:
        """Kill what is left some time after the workflow has ended; return how many there were."""
        until = time.monotonic() + seconds
        while (left := with_mark(self.process.pid)) and time.monotonic() < until:
            time.sleep(0.1)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return len(left)


def with_mark(workflow: int) -> list[int]:
    """Return the processes with a workflow's number in their environment: its jobs and engines."""
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


def locked(study: Study) -> bool:
    """Whether a killed workflow has left its lock."""
    return any((study.folder / ".snakemake" / "locks").glob("*"))


def unlock(study: Study) -> None:
    """Take the lock away, as Snakemake's message says."""
    if locked(study):
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


def repeated(runs: list[Run]) -> int:
    """Jobs that were started more than once on the way to one end."""
    started = [job for run in runs for job in run.started()]
    return len(started) - len(set(started))


class Torment:
    """Kills a study again and again, and keeps count.

    `undisturbed` has run with --notemp, so that temporary files can be compared too.
    """

    def __init__(self, study: Study, undisturbed: Study, seed: int) -> None:
        self.study, self.undisturbed, self.draw = study, undisturbed, random.Random(seed)
        self.watch = Watch(study, undisturbed)
        self.watch.start()
        self.episodes: list[list[Run]] = [[]]  # each ends with finished files
        self.seen: set[Path] = set()
        self.moments: Counter[str] = Counter()
        self.rules: Counter[str] = Counter()
        self.kills = self.lost = self.orphans = 0

    def through(self, part: Part) -> None:
        """Make a part's files in spite of its kills."""
        before, run = self.kills, None
        while self.kills < before + part.kills:
            run = run or self.start(part)
            if self.draw.random() < AT_WORK:
                self.wait(run, (self.kills - before) / part.kills)
            time.sleep(part.longest * self.draw.random())
            if not self.strike(run):
                continue
            status = run.process.wait(timeout=900)
            self.seen |= set(differing(self.study, self.undisturbed))
            if status == 0:
                self.orphans += run.orphans()
                forget(self.study, part.keep)
                self.episodes.append([])
            run = None
        if run is None or run.process.wait():
            run = self.start(part, retries=0)
            assert run.process.wait() == 0, run.log.read_text()[-20000:]
        self.orphans += run.orphans()
        self.episodes.append([])

    def start(self, part: Part, retries: int = 1000) -> Run:
        """Run on, at once, whoever of the run before has not ended yet."""
        if locked(self.study) and self.draw.random() < TWICE:
            process = self.study.start("--unlock")
            time.sleep(2 * self.draw.random())
            process.kill()
            process.communicate()
            self.moments["SIGKILL to --unlock, not counted"] += 1
        unlock(self.study)
        run = Run(self.study, "--retries", str(retries), "--", *part.targets)
        self.orphans += sum(before.orphans() for before in self.episodes[-1][-1:])
        self.episodes[-1].append(run)
        return run

    def wait(self, run: Run, share: float) -> None:
        """Wait until a share of the jobs is done and another runs, or all is over."""
        runs = self.episodes[-1]
        while run.process.poll() is None:
            done, total = sum(run.finished() for run in runs), max(run.total() for run in runs)
            if run.running() and done >= share * total:
                return
            time.sleep(0.05)

    def strike(self, run: Run) -> bool:
        """Kill, perhaps twice; whether the workflow ends, or has ended before."""
        whom, number = self.draw.choice(WHOM), self.draw.choice(SIGNALS)
        rules = run.running()
        if run.kill(whom, number, self.draw):
            self.note(f"{number.name} to {whom}", rules, 1 if whom in WHOM[2:] else len(rules))
        if whom in WHOM[2:]:
            return run.process.poll() is not None
        if self.draw.random() < TWICE:
            time.sleep(self.draw.random())
            if run.kill("group", signal.SIGKILL, self.draw):
                self.note("SIGKILL to group within a second", rules, 0)
        return True

    def note(self, moment: str, rules: list[str], lost: int) -> None:
        """Count a kill."""
        self.moments[moment] += 1
        self.rules.update(rules or ["none"])
        self.kills += 1
        self.lost += lost
        print(f"{self.kills}: {moment}, at {' and '.join(rules)}", file=sys.stderr, flush=True)

    def report(self, targets: tuple[str, ...]) -> Report:
        """Compare all there is, and expect the targets: without any, all that was to be made."""
        self.watch.stop()
        files = map(Path, targets) if targets else final_files(self.undisturbed)
        wanted = {path for path in files if not TEMPORARY.search(path.as_posix())}
        wrong = {*differing(self.study, self.undisturbed), *(wanted - set(final_files(self.study)))}
        for path in sorted(self.watch.partial | self.seen | wrong):
            print(f"differed: {path}", file=sys.stderr)
        return Report(
            kills=self.kills,
            partial_files=len(self.watch.partial | self.seen),
            jobs_repeated=sum(map(repeated, self.episodes)),
            differences=len(wrong),
            jobs_lost=self.lost,
            orphans=self.orphans,
            leftovers=len(leftovers(self.study)),
            moments=dict(sorted(self.moments.items())),
            rules=dict(sorted(self.rules.items())),
        )


def torment(study: Study, undisturbed: Study, *parts: Part, seed: int) -> Report:
    """Make a study part by part under kills; then the last part's targets must be there."""
    torment = Torment(study, undisturbed, seed)
    for part in parts:
        torment.through(part)
    return torment.report(parts[-1].targets)


def main(kills: int = 50, seed: int = 0) -> None:
    """Kill the smallest study at random moments, and compare it with an undisturbed run."""
    with tempfile.TemporaryDirectory(prefix="crosslens-soak-") as folder:
        studies = [Study(Path(folder, name), TINY) for name in ("undisturbed", "killed")]
        for study in studies:
            study.folder.mkdir()
        finish(studies[0], "--notemp")
        trained = kills // 8
        parts = (
            Part(MODELS, trained, longest=15, keep=("world",)),
            Part((), kills - trained, longest=5, keep=("world", "data", "models", "versions")),
        )
        report = torment(*reversed(studies), *parts, seed=seed)
    print(json.dumps(report._asdict()))
    sys.exit(report.kills < kills or report.partial_files + report.differences > 0)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
