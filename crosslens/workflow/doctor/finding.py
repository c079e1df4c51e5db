"""One line of the page that `snakemake doctor` prints."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

OK, WARNING, ERROR = "ok", "warning", "error"
SUBJECT = 28  # characters


class Finding(NamedTuple):
    """The result of one check: its status, what was checked, what was found and what to do."""

    status: str
    subject: str
    text: str


def ok(subject: str, text: str) -> Finding:
    """Return a finding that needs no action."""
    return Finding(OK, subject, text)


def warning(subject: str, text: str) -> Finding:
    """Return a finding that may stop or slow down the study; its text ends with what to do."""
    return Finding(WARNING, subject, text)


def error(subject: str, text: str) -> Finding:
    """Return a finding that will stop the study; its text ends with what to do."""
    return Finding(ERROR, subject, text)


def count_errors(findings: Iterable[Finding]) -> int:
    """Return the number of errors."""
    return sum(finding.status == ERROR for finding in findings)


def format_findings(findings: list[Finding]) -> str:
    """Return one line for each finding, and their numbers by status."""
    lines = [f"{f.status:9}{f.subject:{SUBJECT}}  {f.text}" for f in findings]
    count = Counter(finding.status for finding in findings)
    numbers = ", ".join(f"{count[status]} {status}" for status in (OK, WARNING, ERROR))
    return "\n".join([*lines, f"\n{len(findings)} checks: {numbers}"])
