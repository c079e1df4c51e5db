"""The steps of one epoch, and which of them end a fifth of it."""

from pathlib import Path

from crosslens.errors import InputError

FIFTHS = 5


def steps_of_epoch(problems: int, batch_size: int) -> int:
    """Whole batches in one epoch; the rest is dropped, as the engines do.

    Raises InputError when there are fewer than five.
    """
    steps = problems // batch_size
    if steps < FIFTHS:
        raise InputError(
            f"grpo.batch_size: {problems} problems give {steps} steps of {batch_size} prompts, "
            f"fewer than {FIFTHS} checkpoints: give more problems or lower it"
        )
    return steps


def fifths(steps: int) -> list[int]:
    """The step that ends each fifth of the epoch, the nearest one where it falls between two."""
    return [max(1, round(steps * k / FIFTHS)) for k in range(1, FIFTHS + 1)]


def spacing(steps: int) -> int:
    """Save every so many steps to have a checkpoint at each of `fifths(steps)`."""
    wanted = fifths(steps)
    return max(d for d in range(1, wanted[0] + 1) if all(step % d == 0 for step in wanted[:-1]))


def export(weights: Path, base: Path, out: Path) -> None:
    """A plain Hugging Face directory: the checkpoint's weights under the base model's names.

    Everything but the weights is copied from the base model, so that engines with another version
    of transformers leave no trace in the configuration.
    """
    import shutil

    from crosslens.files import whole

    files = [f for f in base.iterdir() if not f.name.startswith("model") and f.is_file()]
    with whole(out) as partial:
        partial.mkdir()
        for file in files:
            shutil.copy(file, partial / file.name)
        for file in weights.glob("model*"):
            shutil.copy(file, partial / file.name)
