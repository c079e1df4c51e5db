"""Show the progress of long work: a bar on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

Item = TypeVar("Item")


def track(
    items: Iterable[Item],
    what: str,
    *,
    total: int | None = None,
    unit: str = "it",
    interval: float = 10,
) -> Iterator[Item]:
    """Iterate over `items` and show count, rate and remaining time.

    On a terminal this is tqdm's bar. In a log it is at most one line per `interval` seconds, and
    a last one.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=what, total=total, unit=unit)
        return
    started = shown = time.monotonic()
    done = 0
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - shown >= interval:
            shown = now
            log(progress_line(what, done, total, now - started, unit))
    log(progress_line(what, done, total, time.monotonic() - started, unit))


def log(line: str) -> None:
    """Print a line to stderr at once."""
    print(line, file=sys.stderr, flush=True)


def progress_line(what: str, done: int, total: int | None, seconds: float, unit: str) -> str:
    """Return count, rate and, where the total is known, the remaining seconds."""
    rate = done / seconds if seconds > 0 else 0.0
    if not total:
        return f"{what}: {done} {unit} in {seconds:.0f} s, {rate:.1f} {unit}/s"
    left = (total - done) / rate if rate else 0.0
    return f"{what}: {done}/{total} {unit}, {rate:.1f} {unit}/s, {left:.0f} s left"
