"""What a run of verl leaves behind while it goes on: checkpoints, exported models, the log.

The newest whole training state is kept, and of each fifth the model; verl itself would keep all.
"""

import json
from pathlib import Path

from crosslens.io.atomic import flush, remove
from crosslens.io.errors import InputError
from crosslens.io.records import write_jsonl
from crosslens.posttraining.grpo.checkpoints import WEIGHTS, export
from crosslens.posttraining.resumable_run import (
    COMPLETE,
    checkpoints,
    close,
    last_checkpoint,
    step_of,
)

TRACKER = "latest_checkpointed_iteration.txt"  # the step of verl's last whole checkpoint
LOG = "metrics.jsonl"  # verl's file logger starts it anew in every attempt
EARLIER = "metrics-before.jsonl"  # what earlier attempts logged, up to the step to go on from


def ready(run: Path) -> Path | None:
    """The checkpoint to go on from, if any; all that comes after it is deleted."""
    resume = last_checkpoint(run)
    for checkpoint in checkpoints(run):
        if checkpoint != resume:
            remove(checkpoint)
    remove(run / TRACKER)
    write_jsonl(run / EARLIER, logged(run, step_of(resume)) if resume else [])
    remove(run / LOG)
    return resume


def keep(run: Path, base: Path, fifths: list[int]) -> None:
    """Look after checkpoints that are whole since the last call.

    Of a fifth's the model is exported, in `base`'s dtype. Then the checkpoint's training state is
    the one to go on from, and those before it are deleted. verl logs a step after saving it, so one
    that is not logged yet is left for later: a run that goes on from it would lack its curve.
    """
    last = newest(run)
    for checkpoint in checkpoints(run):
        step = step_of(checkpoint)
        if step > last or (checkpoint / COMPLETE).exists() or step not in steps_in(run / LOG):
            continue
        weights = checkpoint / "actor" / "huggingface"
        if step in fifths:
            export(weights, base, exported(run, fifths.index(step) + 1))
        for file in weights.glob(f"{WEIGHTS}*"):
            remove(file)
        flush(checkpoint)
        close(checkpoint, kept=())


def newest(run: Path) -> int:
    """The last step whose checkpoint verl has written to the end; 0 without one."""
    file = run / TRACKER
    text = file.read_text() if file.exists() else ""
    return int(text) if text else 0


def exported(run: Path, k: int) -> Path:
    """Where a fifth's model waits for the others."""
    return run / f"rl-{k}"


def steps_in(log: Path) -> set[int]:
    """The steps that a log has lines of."""
    return {row["step"] for row in rows(log)}


def logged(run: Path, last: int) -> list[dict]:
    """The lines of steps 1 to `last`, each once, of all attempts. Raises InputError for a gap."""
    found = {row["step"]: row for file in (EARLIER, LOG) for row in rows(run / file)}
    if missing := [step for step in range(1, last + 1) if step not in found]:
        raise InputError(f"grpo: verl did not log step {missing[0]}: is its version another one?")
    return [found[step] for step in range(1, last + 1)]


def rows(log: Path) -> list[dict]:
    """The lines of a log, but for one at its end that a kill has cut."""
    content = log.read_bytes() if log.exists() else b""
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
