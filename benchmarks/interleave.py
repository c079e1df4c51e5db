"""Cases timed one after the other, round by round, so that a noisy machine disturbs all alike."""

import time
from collections.abc import Callable
from statistics import median


def interleaved(cases: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each case in each round, after a round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, case in cases.items():
            started = time.perf_counter()
            case()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio(seconds: dict[str, list[float]], slow: str, fast: str) -> float:
    """How many times as long `slow` takes: the median over rounds, each within itself."""
    return median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))
