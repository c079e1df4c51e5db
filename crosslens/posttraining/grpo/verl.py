"""Run verl's own `main_ppo` and keep five plain checkpoints and the curves of it."""

import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import pandas as pd

from crosslens.config.backend_options import check_grpo_options
from crosslens.io.atomic import atomic_write, remove
from crosslens.io.errors import InputError
from crosslens.posttraining import backend_process, resumable_run
from crosslens.posttraining.checkpoint_schedule import (
    saved_checkpoint_steps,
    spacing,
    steps_of_epoch,
)
from crosslens.posttraining.grpo.curves import verl_curves
from crosslens.posttraining.grpo.overrides import overrides
from crosslens.posttraining.grpo.prompts import copy_tokenizer, fitting_prompts
from crosslens.posttraining.grpo.reward import MARK
from crosslens.posttraining.grpo.verl_run_state import LOG, exported, keep, logged, ready

PLUGIN = "crosslens.posttraining.grpo.cpu_platform"


def train(
    *, settings: dict, model: Path, data: Path, seed: int, gpus: int, run: Path, out: list[Path]
) -> pd.DataFrame:
    """One epoch of GRPO; writes the checkpoints `out` and returns the curves.

    Goes on from the last whole checkpoint of an earlier attempt at the same run, which is in the
    directory `run`; it is the caller who deletes that. Raises InputError, in one line, when verl
    fails, when a reward other than ours was in use, or `run` holds checkpoints of another run.
    """
    check_grpo_options(settings.get("options", {}))
    run = run.resolve()
    same = resumable_run.identity(
        model=model, data=data, settings=settings, seed=seed, devices=max(1, gpus)
    )
    resumable_run.claim(run, same, resumable_run.last_checkpoint(run))
    tokenizer = copy_tokenizer(model, run / "tokenizer")
    prompts = fitting_prompts(data, tokenizer, settings["max_prompt_length"])
    steps = steps_of_epoch(len(prompts), settings["batch_size"])
    resume = ready(run)
    if resume is None or resumable_run.step_of(resume) < steps:
        command = [sys.executable, "-m", "verl.trainer.main_ppo"] + overrides(
            settings,
            model=model.resolve(),
            tokenizer=tokenizer,
            data=data.resolve(),
            out=run,
            save_every=spacing(steps, settings["save_every"]),
            seed=seed,
            gpus=gpus,
            resume=resume,
        )
        keeping = partial(keep, run, model, saved_checkpoint_steps(steps, settings["save_every"]))
        launch(command, environment(settings["device"]), run, keeping)
    check_reward(run / MARK)
    for k, target in enumerate(out, 1):
        with atomic_write(target) as copy:
            shutil.copytree(exported(run, k), copy, copy_function=os.link)
    return verl_curves(logged(run, steps))


def launch(command: list[str], variables: dict, run: Path, keeping: partial) -> None:
    """Run verl, looking after its checkpoints with `keeping` all the while."""
    sockets = Path(tempfile.mkdtemp(prefix="ray"))  # Ray's sockets need a short path
    places = {"RAY_TMPDIR": sockets, "VERL_FILE_LOGGER_PATH": run / LOG, MARK: run / MARK}
    places["HF_DATASETS_CACHE"] = run / "cache"
    try:
        backend_process.run("verl", command, variables | places, meanwhile=keeping)
        keeping()
    finally:
        remove(sockets)


def check_reward(mark: Path) -> None:
    """Raise InputError unless our reward was called."""
    if not mark.exists():
        raise InputError(
            "grpo: verl trained with another reward than "
            "crosslens.posttraining.grpo.reward.compute_score. "
            "Remove reward settings from grpo.options."
        )


def environment(device: str) -> dict[str, str | None]:
    """What verl's processes need to know, whichever run; None is for a variable to be unset."""
    common = {
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
        "OMP_NUM_THREADS": "1",
    }
