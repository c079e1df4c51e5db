"""Jobs on a SLURM cluster: which failed and why, and those that an earlier run left behind."""

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from crosslens.io.errors import InputError

QUERY = ("squeue", "--me", "--noheader", "--format=%i|%k|%Z")
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
STATE = re.compile(r"SLURM status is: '(\w+)'")


def comment(rule: str, wildcards: Iterable[str]) -> str:
    """The comment under which Snakemake's executor submits a job."""
    values = "_".join(wildcards).replace("/", "_")
    return f"rule_{rule}_wildcards_{values}" if values else f"rule_{rule}"


def check_queued(comments: Iterable[str], folder: Path) -> None:
    """Raise InputError if one of the jobs that are about to be submitted waits or runs already.

    Jobs are known by SLURM's comment, which names rule and wildcards, and by `folder`, from where
    they were submitted. A run whose head process was killed leaves its jobs running.
    """
    left = queued(folder)
    twice = sorted(left[name] for name in set(comments) & left.keys())
    if twice:
        raise InputError(
            f"{len(twice)} of the jobs to submit wait or run already, left by an earlier run: wait "
            f"until they have ended or cancel them (scancel {' '.join(twice)}), then start again"
        )


def queued(folder: Path) -> dict[str, str]:
    """Comments of this user's jobs submitted from `folder` that wait or run, and their ids."""
    lines = subprocess.run(QUERY, capture_output=True, text=True, check=True, timeout=60).stdout
    jobs = (line.split("|", 2) for line in lines.splitlines())
    return {name: id_ for id_, name, where in jobs if same(Path(where), folder)}


def same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one folder."""
    return one.resolve() == other.resolve()


def failures(log: str) -> list[str]:
    """A line for each job whose last attempt failed, from the log of a run.

    It has the job's last state, what the job itself has written last, and where to read on.
    """
    last = {error["id"]: error for error in ERROR.finditer(log)}
    finished = set(FINISHED.findall(log))
    return [describe(error) for id_, error in last.items() if id_ not in finished]


def describe(error: re.Match) -> str:
    """One failed job in one line."""
    state = STATE.search(error["message"])
    reason = state[1] if state else error["message"].splitlines()[0]
    own = error["slurm"] and last_line(Path(error["log"]))
    said = f": {own}" if own else ""
    where = f" ({error['log']})" if error["log"] else ""
    return f"{error['rule']} {error['output']}: {reason}{said}{where}"


def last_line(log: Path) -> str:
    """What a job has written last into its log, "" if it has written nothing."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
