"""Run verl's `main_ppo` and write five plain checkpoints and the training curves."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from crosslens.config.sections import GRPOConfig
from crosslens.io.atomic import atomic_write, remove
from crosslens.io.errors import InputError
from crosslens.posttraining import backend_process, resumable_run
from crosslens.posttraining.checkpoint_schedule import (
    save_interval,
    saved_checkpoint_steps,
    steps_per_epoch,
)
from crosslens.posttraining.grpo.curves import verl_curves
from crosslens.posttraining.grpo.overrides import verl_overrides
from crosslens.posttraining.grpo.prompts import copy_tokenizer, fitting_prompts
from crosslens.posttraining.grpo.reward import MARK
from crosslens.posttraining.grpo.verl_run_state import (
    LOG,
    export_and_prune,
    exported_model,
    prepare_resume,
    read_log,
)

# The path of a Unix socket has at most 107 bytes. This is the rest of Ray's longest, below TMPDIR:
RAY_SOCKET = "/ray12345678/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
LONGEST_TMPDIR = 107 - len(RAY_SOCKET)
PLUGIN = "crosslens.posttraining.grpo.cpu_platform"


def train(
    *,
    settings: GRPOConfig,
    model: Path,
    data: Path,
    seed: int,
    gpus: int,
    run: Path,
    out: list[Path],
    software: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """Train one epoch, write the checkpoints `out`, and return the curves.

    An interrupted run resumes from its last complete checkpoint in the directory `run`, which the
    caller deletes. Raises InputError when verl fails, when it used another reward, or when `run`
    holds checkpoints of a different run.
    """
    run = run.resolve()
    identity = resumable_run.run_identity(
        model=model,
        data=data,
        settings=settings,
        seed=seed,
        devices=max(1, gpus),
        software=software,
    )
    resumable_run.start_or_resume(run, identity)
    tokenizer = copy_tokenizer(model, run / "tokenizer")
    prompts = fitting_prompts(data, tokenizer, settings.max_prompt_length)
    steps = steps_per_epoch(len(prompts), settings.batch_size)
    resume = prepare_resume(run)
    if resume is None or resumable_run.checkpoint_step(resume) < steps:
        command = [sys.executable, "-m", "verl.trainer.main_ppo"] + verl_overrides(
            settings,
            model=model.resolve(),
            tokenizer=tokenizer,
            data=data.resolve(),
            out=run,
            save_every=save_interval(steps, settings.save_every),
            seed=seed,
            gpus=gpus,
            resume=resume,
        )
        saved = saved_checkpoint_steps(steps, settings.save_every)
        prune = partial(export_and_prune, run, model, saved)
        variables = backend_environment(settings.device)
        if settings.device == "cpu":
            variables["OMP_NUM_THREADS"] = resumable_run.run_threads(run)
        run_verl(command, variables, run, prune)
    check_reward(run / MARK)
    for k, target in enumerate(out, 1):
        with atomic_write(target) as copy:
            shutil.copytree(exported_model(run, k), copy, copy_function=os.link)
    return verl_curves(read_log(run, steps))


def run_verl(command: list[str], variables: dict, run: Path, prune: Callable[[], object]) -> None:
    """Run verl, and call `prune` on its checkpoints while it runs."""
    sockets = socket_folder()
    places = {"RAY_TMPDIR": sockets, "VERL_FILE_LOGGER_PATH": run / LOG, MARK: run / MARK}
    places["HF_DATASETS_CACHE"] = run / "cache"
    try:
        backend_process.run_backend("verl", command, variables | places, after_line=prune)
        prune()
    finally:
        remove(sockets)


def socket_folder() -> Path:
    """Make a folder for Ray's sockets in TMPDIR, or in /tmp where their paths would be too long."""
    folder = tempfile.gettempdir()
    fits = len(os.fsencode(folder)) <= LONGEST_TMPDIR
    return Path(tempfile.mkdtemp(prefix="ray", dir=folder if fits else "/tmp"))


def check_reward(mark: Path) -> None:
    """Raise InputError unless this project's reward was called."""
    if not mark.exists():
        raise InputError(
            "grpo.engine_options: verl did not train with the reward "
            "crosslens.posttraining.grpo.reward.compute_score. Remove the reward settings."
        )


def backend_environment(device: str) -> dict[str, str | None]:
    """Return the environment variables of verl's processes; None unsets a variable."""
    common: dict[str, str | None] = {
        "RAY_ADDRESS": None,  # of another cluster, which would not have this job's GPUs
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # Ray's 15 starves the longest job of a busy machine
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }
    if device == "cuda":
        return common
    return common | {
        "VERL_USE_EXTERNAL_MODULES": PLUGIN,
        "VERL_PLATFORM": "cpu",
        "VERL_ENGINE_DEVICE": "cuda",
        "CUDA_VISIBLE_DEVICES": None,  # empty, it would hide Ray's logical slots as well
        "TQ_NUM_THREADS": "1",  # verl's queue would take eight, and warn with every message
    }
