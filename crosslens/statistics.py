"""Intervals for accuracies and for sets of controls."""

from statistics import NormalDist, mean, stdev

Z = NormalDist().inv_cdf(0.975)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95% interval of a proportion (Wilson's score interval). Raises ValueError without trials."""
    if trials < 1:
        raise ValueError("an interval needs at least one trial")
    share, square = successes / trials, Z * Z / trials
    centre = (share + square / 2) / (1 + square)
    half = Z / (1 + square) * (share * (1 - share) / trials + square / (4 * trials)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def clustered(item_means: list[float]) -> tuple[float, float]:
    """95% interval of a mean over items, each the mean of its repetitions, clipped to [0, 1]."""
    centre = mean(item_means)
    half = Z * stdev(item_means) / len(item_means) ** 0.5 if len(item_means) > 1 else 1.0
    return max(0.0, centre - half), min(1.0, centre + half)


def standard_error(values: list[float]) -> float:
    """Standard error of a mean; 0 for a single value."""
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def accuracy(rows: list[dict]) -> dict:
    """Accuracy of one task from its outcomes, with standard error and 95% interval.

    One repetition: binomial. Several: the mean over repetitions, its standard error over
    repetitions (as Evalchemy reports it), and an interval over items.
    """
    repeats = max(row["repetition"] for row in rows) + 1
    runs = [[r["correct"] for r in rows if r["repetition"] == i] for i in range(repeats)]
    per_repetition = [mean(run) for run in runs]
    count = len(runs[0])
    if repeats == 1:
        interval = wilson(sum(runs[0]), count)
        error = (per_repetition[0] * (1 - per_repetition[0]) / count) ** 0.5
    else:
        interval = clustered([mean(item) for item in zip(*runs, strict=True)])
        error = standard_error(per_repetition)
    return {
        "accuracy": mean(per_repetition),
        "stderr": error,
        "ci95": list(interval),
        "n": count,
        "repeats": repeats,
        "per_repetition": per_repetition,
    }


def change(right: int, count: int, before: int) -> dict:
    """Accuracy before and after an intervention and its change in points, with a 95% interval.

    `before` is 0 or 1: critical samples are all wrong in base and all right in RL.
    """
    low, high = wilson(right, count)
    return {
        "n_samples": count,
        "accuracy_before": float(before),
        "accuracy_after": right / count,
        "change": 100 * (right / count - before),
        "ci_low": 100 * (low - before),
        "ci_high": 100 * (high - before),
    }
