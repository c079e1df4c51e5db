"""Run verl's own `main_ppo` and keep five plain checkpoints and the curves of it."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from crosslens import engines
from crosslens.errors import InputError
from crosslens.grpo.checkpoints import export
from crosslens.grpo.curves import verl_curves
from crosslens.grpo.overrides import check_options, overrides
from crosslens.grpo.prompts import copy_tokenizer, fitting_prompts
from crosslens.grpo.reward import MARK
from crosslens.grpo.steps import fifths, spacing, steps_of_epoch

if TYPE_CHECKING:  # verl imports them in its own processes; named here so that changes rerun
    from crosslens.grpo import agent_loop, cpu_platform  # noqa: F401

PLUGIN = "crosslens.grpo.cpu_platform"


def train(
    *, settings: dict, model: Path, data: Path, seed: int, gpus: int, out: list[Path]
) -> pd.DataFrame:
    """One epoch of GRPO; writes the checkpoints `out` and returns the curves.

    Raises InputError, in one line, when verl fails or when a reward other than ours was in use.
    """
    check_options(settings.get("options", {}))
    run = Path(tempfile.mkdtemp(prefix=".grpo-", dir=out[0].parent)).resolve()
    sockets = Path(tempfile.mkdtemp(prefix="ray"))  # Ray's sockets need a short path
    try:
        tokenizer = copy_tokenizer(model, run / "tokenizer")
        prompts = fitting_prompts(data, tokenizer, settings["max_prompt_length"])
        steps = steps_of_epoch(len(prompts), settings["batch_size"])
        log, mark = run / "metrics.jsonl", run / "reward-was-ours"
        command = [sys.executable, "-m", "verl.trainer.main_ppo"] + overrides(
            settings,
            model=model.resolve(),
            tokenizer=tokenizer,
            data=data.resolve(),
            out=run / "checkpoints",
            save_every=spacing(steps),
            seed=seed,
            gpus=gpus,
        )
        places = {"RAY_TMPDIR": sockets, "VERL_FILE_LOGGER_PATH": log, MARK: mark}
        places["HF_DATASETS_CACHE"] = run / "cache"
        engines.run("verl", command, environment(settings["device"]) | places)
        check_reward(mark)
        for step, checkpoint in zip(fifths(steps), out, strict=True):
            weights = run / "checkpoints" / f"global_step_{step}" / "actor" / "huggingface"
            export(weights, model, checkpoint)
        return verl_curves(log)
    finally:
        shutil.rmtree(run, ignore_errors=True)
        shutil.rmtree(sockets, ignore_errors=True)


def check_reward(mark: Path) -> None:
    """Raise InputError unless our reward was called."""
    if not mark.exists():
        raise InputError(
            "grpo: verl trained with another reward than crosslens.grpo.reward.compute_score: "
            "check grpo.options for reward settings"
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
