"""Choose the optimizer steps of one epoch that become the study's five checkpoints.

SFT saves exactly after 20%, 40%, ... of its steps. GRPO saves at a fixed interval, as it also
resumes from these checkpoints; the saved step nearest to 20%, 40%, ... becomes a checkpoint.
"""

from crosslens.config.study_design import N_CHECKPOINTS
from crosslens.io.errors import InputError

TOLERANCE = 0.02  # of the epoch, by which a checkpoint may be off, so that fewer are saved


def steps_per_epoch(problems: int, batch_size: int) -> int:
    """Return the number of full batches in one epoch; verl and TRL drop the rest.

    Raises InputError when the problems fill fewer than five batches.
    """
    steps = problems // batch_size
    if not steps:
        raise InputError(
            f"grpo.batch_size: {problems} problems are fewer than one batch of {batch_size}. "
            "Give more problems, or lower the batch size."
        )
    if steps < N_CHECKPOINTS:
        raise InputError(
            f"grpo.batch_size: {problems} problems give {steps} steps of {batch_size} prompts, "
            f"fewer than {N_CHECKPOINTS} checkpoints. Give more problems, or lower the batch size."
        )
    return steps


def save_interval(steps: int, at_most: int) -> int:
    """Return the largest save interval, in steps, with multiples close to every fifth of the epoch.

    A checkpoint may be off by `TOLERANCE` of the epoch, or by half a step. At 66 steps, saving
    every 13th is enough, where exact rounding would need every step.
    """
    allowed = max(0.5, TOLERANCE * steps)
    intervals = range(min(at_most, round(steps / N_CHECKPOINTS)), 0, -1)
    return next(
        interval
        for interval in intervals
        if all(abs(nearest(exact, interval) - exact) <= allowed for exact in exact_fifths(steps))
    )


def exact_checkpoint_steps(steps: int) -> list[int]:
    """Return the steps at which 20%, 40%, ... 100% of `steps` are done.

    Raises InputError when there are fewer steps than checkpoints.
    """
    if steps < N_CHECKPOINTS:
        raise InputError(
            f"sft.batch_size: SFT has only {steps} steps, fewer than its {N_CHECKPOINTS} "
            "checkpoints. Give more problems, or lower the batch size."
        )
    return [-(-steps * k // N_CHECKPOINTS) for k in range(1, N_CHECKPOINTS + 1)]


def saved_checkpoint_steps(steps: int, at_most: int) -> list[int]:
    """Return the saved step nearest to each fifth of the epoch; the last is the last step."""
    interval = save_interval(steps, at_most)
    return [nearest(exact, interval) for exact in exact_fifths(steps)] + [steps]


def exact_fifths(steps: int) -> list[float]:
    """Return 20%, 40%, 60% and 80% of the epoch, in steps."""
    return [steps * k / N_CHECKPOINTS for k in range(1, N_CHECKPOINTS)]


def nearest(exact: float, interval: int) -> int:
    """Return the multiple of `interval` nearest to `exact`, at least one interval."""
    return max(1, round(exact / interval)) * interval
