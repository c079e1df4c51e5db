"""The steps of one epoch, and which of them stand for its fifths."""

from crosslens.config.study_design import CHECKPOINTS
from crosslens.io.errors import InputError

TOLERANCE = 0.02  # of the epoch, by which a checkpoint may miss its fifth to save fewer of them


def steps_of_epoch(problems: int, batch_size: int) -> int:
    """Whole batches in one epoch; the rest is dropped, as the engines do.

    Raises InputError when the problems do not fill one batch, or fewer than five.
    """
    steps = problems // batch_size
    if not steps:
        raise InputError(
            f"grpo.batch_size: {problems} problems are fewer than one batch of {batch_size}: "
            "give more problems or lower it"
        )
    if steps < CHECKPOINTS:
        raise InputError(
            f"grpo.batch_size: {problems} problems give {steps} steps of {batch_size} prompts, "
            f"fewer than {CHECKPOINTS} checkpoints: give more problems or lower it"
        )
    return steps


def spacing(steps: int, at_most: int) -> int:
    """Save every so many steps (and after the last): the largest number that meets the fifths.

    A checkpoint may miss its fifth by `TOLERANCE` of the epoch, or by the half step that rounding
    takes: at 66 steps saving every 13th is enough, where exact rounding would save them all.
    """
    allowed = max(0.5, TOLERANCE * steps)
    meeting = (
        every
        for every in range(min(at_most, round(steps / CHECKPOINTS)), 0, -1)
        if all(abs(nearest(exact, every) - exact) <= allowed for exact in inner_fifths(steps))
    )
    return next(meeting)


def fifths(steps: int, at_most: int) -> list[int]:
    """The saved step that stands for each fifth of the epoch; the last is the last step."""
    every = spacing(steps, at_most)
    return [nearest(exact, every) for exact in inner_fifths(steps)] + [steps]


def inner_fifths(steps: int) -> list[float]:
    """Where the first four fifths of the epoch end."""
    return [steps * k / CHECKPOINTS for k in range(1, CHECKPOINTS)]


def nearest(exact: float, every: int) -> int:
    """The multiple of `every` nearest to `exact`, at least one."""
    return max(1, round(exact / every)) * every
