"""Check whether a SLURM node of the profile's partition can run each rule, and long enough."""

import getpass
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from crosslens.workflow.doctor.finding import Finding, error, ok, warning
from crosslens.workflow.doctor.machine import Requests

PROFILE = Path("profiles", "slurm", "config.yaml")
UNLIMITED = 10**9
TIME = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)$")
GPUS = re.compile(r"\bgpu:(?:[^,:()]+:)?(\d+)")


class Nodes(NamedTuple):
    """Identical nodes of a partition: the time limit in minutes, and what each node has."""

    minutes: int
    cpus: int
    mem_mb: int
    gpus: int


def installed() -> bool:
    """Return whether this machine can submit jobs to SLURM."""
    return answer("sinfo", "--version") is not None and answer("sinfo") is not None


def answer(*command: str) -> str | None:
    """Return what a command of SLURM prints; None when it fails or there is no cluster."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def slurm_limits(requests: Requests, root: Path) -> list[Finding]:
    """Compare each rule with the partition of the slurm profile, and its `jobs` with the limits."""
    profile = yaml.safe_load((root / PROFILE).read_text())
    defaults = profile["default-resources"]
    partition = defaults.get("slurm_partition")
    asked = ["--partition", partition] if partition else []
    listed = answer("sinfo", "--noheader", "--exact", "--format=%l|%c|%m|%G", *asked)
    if listed is None:
        return []
    if not (nodes := [parse(line) for line in listed.splitlines() if line.count("|") == 3]):
        return [
            error(
                "SLURM", f"there is no partition {partition}. Correct slurm_partition in {PROFILE}."
            )
        ]
    problems = list(unfit(requests, defaults, nodes))
    fits = ok("SLURM", f"partition {partition}: its nodes and its time limit fit every rule")
    return [*(problems or [fits]), *submit_limit(profile.get("jobs", 1))]


def parse(line: str) -> Nodes:
    """Return the nodes of one line of sinfo."""
    minutes, cpus, memory, resources = line.split("|")
    return Nodes(
        minutes_of(minutes.strip()),
        int(cpus.rstrip("+")),
        int(memory.rstrip("+")),
        sum(map(int, GPUS.findall(resources))),
    )


def minutes_of(text: str) -> int:
    """Return a time limit ("1-02:00:00", "30:00", "infinite") in minutes."""
    if not (match := TIME.match(text)):
        return UNLIMITED
    days, hours, minutes, _ = (int(part or 0) for part in match.groups())
    return (days * 24 + hours) * 60 + minutes


def unfit(requests: Requests, defaults: Mapping[str, Any], nodes: list[Nodes]) -> Iterator[Finding]:
    """Yield an error for each rule that no node of the partition can run."""
    for rule, request in requests.items():
        gpus = request.get("gpu", 0)
        needs = Nodes(
            request.get("runtime", defaults.get("runtime", 0)),
            max(1, gpus * defaults.get("cpus_per_gpu", 1)),
            request.get("mem_mb", defaults.get("mem_mb", 0)),
            gpus,
        )
        if not any(all(n <= h for n, h in zip(needs, node, strict=True)) for node in nodes):
            most = Nodes(*map(max, zip(*nodes, strict=True)))
            lacking = [
                f"{name} {need} (largest {has})"
                for name, need, has in zip(Nodes._fields, needs, most, strict=True)
                if need > has
            ]
            yield error(
                f"SLURM {rule}",
                f"no node has {', '.join(lacking) or f'all of {needs}'}. Lower resources.{rule}, "
                f"or choose another partition in {PROFILE}.",
            )


def submit_limit(jobs: int) -> list[Finding]:
    """Compare the profile's `jobs` with the smallest limit on jobs that a user may submit."""
    query = ("show", "association", "where", f"user={getpass.getuser()}", "format=MaxSubmitJobs")
    said = answer("sacctmgr", "--noheader", "--parsable2", *query)
    limits = [int(number) for number in re.findall(r"\d+", said or "")]
    if not limits or min(limits) >= jobs:
        return []
    return [
        warning(
            "SLURM jobs",
            f"the profile submits {jobs} jobs at once, but your limit is {min(limits)}. "
            f"Lower jobs in {PROFILE}.",
        )
    ]
