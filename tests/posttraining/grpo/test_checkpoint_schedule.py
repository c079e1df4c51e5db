"""The steps of an epoch and the five that are kept: worked numbers."""

import pytest

from crosslens.io.errors import InputError
from crosslens.posttraining.checkpoint_schedule import (
    saved_checkpoint_steps,
    spacing,
    steps_of_epoch,
)


@pytest.mark.parametrize(
    ("steps", "at_most", "every", "kept"),
    [
        (5, 10, 1, [1, 2, 3, 4, 5]),
        (6, 10, 1, [1, 2, 4, 5, 6]),
        (7, 10, 1, [1, 3, 4, 6, 7]),
        (12, 10, 1, [2, 5, 7, 10, 12]),
        (40, 8, 8, [8, 16, 24, 32, 40]),
        (40, 7, 4, [8, 16, 24, 32, 40]),
        (60, 100, 12, [12, 24, 36, 48, 60]),
        (66, 100, 13, [13, 26, 39, 52, 66]),  # the exact fifth is 13.2; some steps are in reach
        (366, 100, 73, [73, 146, 219, 292, 366]),  # the paper: 46,9xx problems, batches of 128
        (366, 10, 10, [70, 150, 220, 290, 366]),
    ],
)
def test_which_steps_are_kept(steps: int, at_most: int, every: int, kept: list[int]) -> None:
    assert spacing(steps, at_most) == every
    assert saved_checkpoint_steps(steps, at_most) == kept


@pytest.mark.parametrize("at_most", [1, 10, 100])
@pytest.mark.parametrize("steps", range(5, 500, 7))
def test_any_number_of_steps(steps: int, at_most: int) -> None:
    kept, every = saved_checkpoint_steps(steps, at_most), spacing(steps, at_most)
    assert every <= at_most
    assert kept[-1] == steps and kept == sorted(set(kept)) and len(kept) == 5
    assert all(step % every == 0 for step in kept[:-1])
    allowed = max(0.5, 0.02 * steps)
    assert all(abs(step - steps * k / 5) <= allowed for k, step in enumerate(kept, 1))


def test_the_last_unfilled_batch_is_dropped() -> None:
    assert steps_of_epoch(960, 16) == 60
    assert steps_of_epoch(975, 16) == 60


@pytest.mark.parametrize(
    ("problems", "said"),
    [
        (15, "15 problems are fewer than one batch of 16"),
        (79, "79 problems give 4 steps of 16 prompts, fewer than 5 checkpoints"),
    ],
)
def test_too_few_problems(problems: int, said: str) -> None:
    with pytest.raises(InputError, match=f"^grpo.batch_size: {said}"):
        steps_of_epoch(problems, 16)
