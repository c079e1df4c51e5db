"""Long work shows itself: a bar with rate and ETA on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def track(
    items: Iterable[Item],
    what: str,
    *,
    total: int | None = None,
    unit: str = "it",
    every: float = 10,
) -> Iterator[Item]:
    """Iterate over `items`, showing progress; in a log one line at most every `every` seconds."""
    if total is None and hasattr(items, "__len__"):
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
        if now - shown >= every:
            shown = now
            print(line(what, done, total, now - started, unit), file=sys.stderr, flush=True)
    print(line(what, done, total, time.monotonic() - started, unit), file=sys.stderr, flush=True)


def line(what: str, done: int, total: int | None, seconds: float, unit: str) -> str:
    """One line of progress: count, share, rate and time left."""
    rate = done / seconds if seconds > 0 else 0.0
    if not total:
        return f"{what}: {done} {unit} in {seconds:.0f} s, {rate:.1f} {unit}/s"
    left = (total - done) / rate if rate else 0.0
    return f"{what}: {done}/{total} {unit}, {rate:.1f} {unit}/s, {left:.0f} s left"
