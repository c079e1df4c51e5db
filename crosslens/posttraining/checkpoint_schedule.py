"""Which optimizer steps of one epoch become the study's five checkpoints.

SFT saves exactly after each fifth of its steps. GRPO saves every so many steps, since what it saves
is also what an interrupted run resumes from, and the saved step nearest to a fifth stands for it.
"""

from crosslens.config.study_design import N_CHECKPOINTS
from crosslens.io.errors import InputError

TOLERANCE = 0.02  # of the epoch, by which a checkpoint may miss its fifth to save fewer of them


def steps_of_epoch(problems: int, batch_size: int) -> int:
    """Return the number of full batches in one epoch; verl and TRL drop the rest.

    Raises InputError when the problems do not fill one batch, or fewer than five.
    """
    steps = problems // batch_size
    if not steps:
        raise InputError(
            f"grpo.batch_size: {problems} problems are fewer than one batch of {batch_size}: "
            "give more problems or lower it"
        )
    if steps < N_CHECKPOINTS:
        raise InputError(
            f"grpo.batch_size: {problems} problems give {steps} steps of {batch_size} prompts, "
            f"fewer than {N_CHECKPOINTS} checkpoints: give more problems or lower it"
        )
    return steps


def spacing(steps: int, at_most: int) -> int:
    """Return the largest save interval, in steps, whose multiples come close to every fifth.

    A checkpoint may miss its fifth by `TOLERANCE` of the epoch, or by the half step of rounding:
    at 66 steps, saving every 13th is enough, where exact rounding would save all of them.
    """
    allowed = max(0.5, TOLERANCE * steps)
    meeting = (
        every
        for every in range(min(at_most, round(steps / N_CHECKPOINTS)), 0, -1)
        if all(abs(nearest(exact, every) - exact) <= allowed for exact in exact_fifths(steps))
    )
    return next(meeting)


def exact_checkpoint_steps(steps: int) -> list[int]:
    """Return the steps after which one, two, ... fifths of `steps` are done; the last is `steps`.

    Raises InputError when there are fewer steps than checkpoints.
    """
    if steps < N_CHECKPOINTS:
        raise InputError(
            f"sft.batch_size: SFT has only {steps} steps, fewer than its {N_CHECKPOINTS} "
            "checkpoints. Give more problems or lower it."
        )
    return [-(-steps * k // N_CHECKPOINTS) for k in range(1, N_CHECKPOINTS + 1)]


def saved_checkpoint_steps(steps: int, at_most: int) -> list[int]:
    """Return the saved step nearest to each fifth of the epoch; the last is the last step."""
    every = spacing(steps, at_most)
    return [nearest(exact, every) for exact in exact_fifths(steps)] + [steps]


def exact_fifths(steps: int) -> list[float]:
    """Return where the first four fifths of the epoch end, in steps."""
    return [steps * k / N_CHECKPOINTS for k in range(1, N_CHECKPOINTS)]


def nearest(exact: float, every: int) -> int:
    """Return the multiple of `every` nearest to `exact`, at least one `every`."""
    return max(1, round(exact / every)) * every
