"""Manage the files of a run of verl: checkpoints, exported models, and the log.

Only the last complete training state and the models at 20%, 40%, ... of the steps are kept; verl
would keep everything.
"""

from pathlib import Path

from crosslens.config.model_compatibility import WEIGHTS
from crosslens.io.atomic import flush, remove
from crosslens.io.errors import InputError
from crosslens.io.records import read_complete_jsonl, write_jsonl
from crosslens.posttraining.checkpoints import export_checkpoint
from crosslens.posttraining.resumable_run import (
    COMPLETE_MARK,
    checkpoint_step,
    last_complete_checkpoint,
    list_checkpoints,
    mark_complete_and_prune,
)

TRACKER = "latest_checkpointed_iteration.txt"  # the step of verl's last complete checkpoint
LOG = "metrics.jsonl"  # verl's file logger overwrites it when a run starts
EARLIER_LOG = "metrics-before.jsonl"  # lines of earlier starts, up to the step to resume from


def prepare_resume(run: Path) -> Path | None:
    """Return the checkpoint to resume from, if any, and delete everything after it."""
    resume = last_complete_checkpoint(run)
    for checkpoint in list_checkpoints(run):
        if checkpoint != resume:
            remove(checkpoint)
    remove(run / TRACKER)
    write_jsonl(run / EARLIER_LOG, read_log(run, checkpoint_step(resume)) if resume else [])
    remove(run / LOG)
    return resume


def export_and_prune(run: Path, base: Path, exported_steps: list[int]) -> None:
    """Process checkpoints that were completed since the last call.

    If the step is one of `exported_steps`, the model is exported in `base`'s dtype. Then the
    checkpoint is marked complete, and the training state of earlier ones is deleted. verl logs a
    step after saving it. A step that is not logged yet is left for the next call, since a run
    resumed from it would lack this step's curves.
    """
    last = last_saved_step(run)
    for checkpoint in list_checkpoints(run):
        step = checkpoint_step(checkpoint)
        if (
            step > last
            or (checkpoint / COMPLETE_MARK).exists()
            or step not in logged_steps(run / LOG)
        ):
            continue
        weights = checkpoint / "actor" / "huggingface"
        if step in exported_steps:
            export_checkpoint(weights, base, exported_model(run, exported_steps.index(step) + 1))
        for file in weights.glob(f"{WEIGHTS}*"):
            remove(file)
        flush(checkpoint)
        mark_complete_and_prune(checkpoint, kept=())


def last_saved_step(run: Path) -> int:
    """Return the last step whose checkpoint verl has completely written, 0 without one."""
    file = run / TRACKER
    text = file.read_text() if file.exists() else ""
    return int(text) if text else 0


def exported_model(run: Path, k: int) -> Path:
    """Return the directory of the k-th exported model."""
    return run / f"rl-{k}"


def logged_steps(log: Path) -> set[int]:
    """Return the steps in a log."""
    return {row["step"] for row in read_complete_jsonl(log)}


def read_log(run: Path, last: int) -> list[dict]:
    """Return one line for each of steps 1 to `last`, over all starts of a run.

    Raises InputError when a step is missing.
    """
    logs = (run / EARLIER_LOG, run / LOG)
    by_step = {row["step"]: row for log in logs for row in read_complete_jsonl(log)}
    if missing := [step for step in range(1, last + 1) if step not in by_step]:
        raise InputError(
            f"grpo.engine: verl's log has no step {missing[0]}. Use the version pinned in envs/."
        )
    return [by_step[step] for step in range(1, last + 1)]
