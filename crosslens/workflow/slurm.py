"""Find jobs on a SLURM cluster that failed, and jobs that a previous run left behind."""

import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from crosslens.io.errors import InputError

QUERY = ("squeue", "--me", "--noheader", "--format=%i|%j|%k|%Z")
LOGS = Path(".snakemake", "log")
# What Snakemake writes of a job it had submitted. Of what went on inside the job it has no message.
ERROR = re.compile(
    r"^Error in rule (?P<rule>\S+):\n"
    r"    message: (?P<message>(?!None\n)(?:.|\n)+?)\n"
    r"    jobid: (?P<id>\d+)\n"
    r"(?:    input: .*\n)?"
    r"    output: (?P<output>[^,\n]+).*\n"
    r"(?:    log: (?P<log>[^,\n]+?)(?P<slurm>, .*)?(?: \(check .*)?\n)?",
    re.MULTILINE,
)
FINISHED = re.compile(r"^Finished jobid: (\d+)", re.MULTILINE)
MADE = re.compile(r"^    output: results/([^/\n]+)/", re.MULTILINE)
STATE = re.compile(r"SLURM status is: '(\w+)'")


def comment(rule: str, wildcards: Iterable[str]) -> str:
    """Return the comment under which Snakemake's executor submits a job."""
    values = "_".join(wildcards).replace("/", "_")
    return f"rule_{rule}_wildcards_{values}" if values else f"rule_{rule}"


class Queued(NamedTuple):
    """A job that waits or runs."""

    id: str
    run: str  # name of the job: Snakemake gives all jobs of a run the same
    comment: str
    folder: str  # from where it was submitted


def check_queued(comments: Iterable[str], folder: Path, study: str, logs: Path = LOGS) -> None:
    """Raise InputError if one of the jobs about to be submitted is already waiting or running.

    A run whose head process was killed leaves its jobs running. Jobs are recognized by SLURM's
    comment, which names rule and wildcards, and by the `folder` that they were submitted from. Jobs
    of another study in the same folder do not count; `logs` distinguish the studies.
    """
    planned = set(comments)
    left = [job for job in queued(folder) if job.comment in planned]
    twice = sorted(job.id for job in left if is_of_study(job.run, study, logs))
    if twice:
        raise InputError(
            f"squeue: {len(twice)} of the jobs to submit are already waiting or running, from a "
            f"previous run. Wait until they end, or cancel them (scancel {' '.join(twice)}), then "
            "start again."
        )


def queued(folder: Path) -> Iterator[Queued]:
    """Yield this user's jobs that wait or run and were submitted from `folder`."""
    lines = subprocess.run(QUERY, capture_output=True, text=True, check=True, timeout=60).stdout
    for line in lines.splitlines():
        job = Queued(*line.split("|", 3))
        if Path(job.folder).resolve() == folder.resolve():
            yield job


def is_of_study(run: str, study: str, logs: Path) -> bool:
    """Return whether a run made files of a study, according to Snakemake's log of the run.

    True, to be safe, if there is no log or the log names no study's files.
    """
    texts = [path.read_text(errors="replace") for path in logs.glob("*.log")]
    studies = {name for text in texts if run in text for name in MADE.findall(text)}
    return not studies or study in studies


def failures(log: str) -> list[str]:
    """Return a line for each job whose last attempt failed, from the log of a run.

    The line has the job's last state, the last line of the job's own log, and the log's path.
    """
    last = {error["id"]: error for error in ERROR.finditer(log)}
    finished = set(FINISHED.findall(log))
    return [failure_line(error) for id_, error in last.items() if id_ not in finished]


def failure_line(error: re.Match) -> str:
    """Return one line about a failed job."""
    state = STATE.search(error["message"])
    reason = state[1] if state else error["message"].splitlines()[0]
    own = error["slurm"] and last_line(Path(error["log"]))
    said = f": {own}" if own else ""
    where = f" ({error['log']})" if error["log"] else ""
    return f"{error['rule']} {error['output']}: {reason}{said}{where}"


def last_line(log: Path) -> str:
    """Return the last line of a job's log; "" if it is empty."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
