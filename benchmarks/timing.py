"""Interleaved timing: every round runs every contestant once."""

import time
from collections.abc import Callable
from statistics import median

Seconds = dict[str, list[float]]  # of each contestant, in the order of rounds


def interleaved(
    contestants: dict[str, Callable[[], object]],
    rounds: int,
    warm: int = 3,
    calls: int = 1,
    wait: Callable[[], object] = lambda: None,
) -> Seconds:
    """Seconds a call of each contestant in each round, after `warm` rounds that do not count.

    A turn is `calls` calls in a row, as steps follow each other in a training: the first of them
    finds the caches as another contestant left them. `wait` waits for a device, at the end of each
    turn.
    """
    seconds: Seconds = {name: [] for name in contestants}
    for number in range(-warm, rounds):
        for name, run in contestants.items():
            started = time.perf_counter()
            for _ in range(calls):
                run()
            wait()
            if number >= 0:
                seconds[name].append((time.perf_counter() - started) / calls)
    return seconds


def ratio(numerator: list[float], denominator: list[float]) -> float:
    """Median over rounds of one contestant's time over another's."""
    return median(a / b for a, b in zip(numerator, denominator, strict=True))
