"""Steps of an epoch and checkpoints of GRPO, by worked numbers."""

import pytest

from crosslens.io.errors import InputError
from crosslens.posttraining.checkpoint_schedule import (
    save_interval,
    saved_checkpoint_steps,
    steps_per_epoch,
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
        (66, 100, 13, [13, 26, 39, 52, 66]),  # a fifth is 13.2 steps; the tolerance 1.3
        (366, 100, 73, [73, 146, 219, 292, 366]),  # the paper: 46,9xx problems, batches of 128
        (366, 10, 10, [70, 150, 220, 290, 366]),
    ],
)
def test_saved_steps(steps: int, at_most: int, every: int, kept: list[int]) -> None:
    assert save_interval(steps, at_most) == every
    assert saved_checkpoint_steps(steps, at_most) == kept


@pytest.mark.parametrize("at_most", [1, 10, 100])
@pytest.mark.parametrize("steps", range(5, 500, 7))
def test_saved_steps_are_close_to_the_fifths_of_any_epoch(steps: int, at_most: int) -> None:
    kept, every = saved_checkpoint_steps(steps, at_most), save_interval(steps, at_most)
    assert every <= at_most
    assert kept[-1] == steps and kept == sorted(set(kept)) and len(kept) == 5
    assert all(step % every == 0 for step in kept[:-1])
    allowed = max(0.5, 0.02 * steps)
    assert all(abs(step - steps * k / 5) <= allowed for k, step in enumerate(kept, 1))


def test_incomplete_last_batch_is_dropped() -> None:
    assert steps_per_epoch(960, 16) == 60
    assert steps_per_epoch(975, 16) == 60


@pytest.mark.parametrize(
    ("problems", "message"),
    [
        (15, "15 problems are fewer than one batch of 16"),
        (79, "79 problems give 4 steps of 16 prompts, fewer than 5 checkpoints"),
    ],
)
def test_too_few_problems_are_an_error(problems: int, message: str) -> None:
    with pytest.raises(InputError, match=f"^grpo.batch_size: {message}"):
        steps_per_epoch(problems, 16)
