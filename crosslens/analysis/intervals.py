"""Intervals for accuracies and for sets of controls."""

from statistics import NormalDist, mean, stdev

Z = NormalDist().inv_cdf(0.975)


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """Return the 95% interval of a proportion (Wilson's score). Counts need not be integers.

    The interval always contains the proportion, even at 0 and 1 in spite of rounding.
    Raises ValueError without trials.
    """
    if trials <= 0:
        raise ValueError("an interval needs at least one trial")
    share, square = successes / trials, Z * Z / trials
    centre = (share + square / 2) / (1 + square)
    half = Z / (1 + square) * (share * (1 - share) / trials + square / (4 * trials)) ** 0.5
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def clustered_interval(item_means: list[float]) -> tuple[float, float]:
    """Return the 95% interval of a mean over items, each the mean of its repetitions.

    This is Wilson's interval with the number of trials that would give the mean its standard error
    over items. It uses no more trials than items, because repetitions of an item are not
    independent, and the standard error of a rare success is unreliable.
    """
    centre, error, count = mean(item_means), standard_error(item_means), len(item_means)
    trials = min(count, centre * (1 - centre) / error**2) if error else count
    return wilson(centre * trials, trials)


def standard_error(values: list[float]) -> float:
    """Return the standard error of a mean; 0 for a single value."""
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def accuracy(rows: list[dict]) -> dict:
    """Return the accuracy of one task from its outcomes, with standard error and 95% interval.

    Both are over questions, each the mean of its repetitions, so they describe another draw of
    questions. `stderr` is lm-eval's. Evalchemy's standard error is over repetitions of the same
    questions, which `per_repetition` keeps.
    """
    repeats = max(row["repetition"] for row in rows) + 1
    runs = [[r["correct"] for r in rows if r["repetition"] == i] for i in range(repeats)]
    per_repetition = [mean(run) for run in runs]
    questions = [mean(answers) for answers in zip(*runs, strict=True)]
    count = len(questions)
    interval = wilson(sum(runs[0]), count) if repeats == 1 else clustered_interval(questions)
    return {
        "accuracy": mean(per_repetition),
        "stderr": standard_error(questions),
        "ci95": list(interval),
        "n": count,
        "repeats": repeats,
        "per_repetition": per_repetition,
    }


def accuracy_change(before: int, after: int, count: int) -> dict:
    """Return the accuracy of `count` samples before and after an edit, and its change in points.

    `before` and `after` count correct answers. The 95% interval is that of the accuracy after the
    edit: the samples were chosen by their outcome before it, which therefore does not vary.
    """
    low, high = wilson(after, count)
    share = before / count
    return {
        "n_samples": count,
        "accuracy_before": share,
        "accuracy_after": after / count,
        "change": 100 * (after / count - share),
        "ci_low": 100 * (low - share),
        "ci_high": 100 * (high - share),
    }
