"""Jobs on a SLURM cluster that an earlier run left behind: a new run must not submit them again."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from crosslens.errors import InputError

QUERY = ("squeue", "--me", "--noheader", "--format=%i|%k|%Z")


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
