"""The lines of the report: one for each part of a section, the table and the summary of them."""

from collections.abc import Iterable
from typing import NamedTuple

OK, FAILED, NOT_RUN = "ok", "failed", "not run"
BEGUN = "begun"  # of a part that has not ended


class Line(NamedTuple):
    """What came of one part of a section; `numbers` are its measurements by name."""

    section: str
    part: str
    outcome: str
    result: str
    seconds: float = 0.0
    numbers: dict[str, float] = {}

    @property
    def name(self) -> str:
        """Return section and part."""
        return f"{self.section}: {self.part}"


def table(lines: Iterable[Line]) -> str:
    """Return lines as a Markdown table."""
    rows = [("section", "part", "outcome", "result", "s"), ("---",) * 5]
    rows += [(x.section, x.part, x.outcome, x.result, f"{x.seconds:.1f}") for x in lines]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)


def summary(lines: Iterable[Line]) -> dict:
    """Return what the final line of JSON says of all parts."""
    lines = list(lines)
    passed = [x for x in lines if x.outcome == OK]
    failed = {x.name: x.result for x in lines if x.outcome == FAILED}
    return {
        "passed": bool(passed) and not failed,
        "parts_passed": len(passed),
        "failed": failed,
        "not_run": {x.name: x.result for x in lines if x.outcome == NOT_RUN},
        "numbers": {
            f"{x.name}: {key}": float(f"{value:.4g}")
            for x in passed
            for key, value in x.numbers.items()
        },
    }
