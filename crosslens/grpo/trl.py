"""The second engine: TRL's GRPOTrainer with the same settings as verl's run."""

import tempfile
from pathlib import Path

import pandas as pd

from crosslens.engines import hide_media_packages
from crosslens.errors import InputError
from crosslens.grpo.checkpoints import export
from crosslens.grpo.curves import trl_curves
from crosslens.grpo.reward import trl_reward
from crosslens.grpo.steps import fifths, spacing, steps_of_epoch


def arguments(settings: dict, *, out: Path, steps: int, seed: int) -> dict:
    """GRPOConfig's arguments. A step of ours, one batch of rollouts and the updates on it, is
    `batch_size / mini_batch_size` optimizer steps of TRL, which counts responses, not prompts."""
    updates = settings["batch_size"] // settings["mini_batch_size"]
    cpu = settings["device"] == "cpu"
    return {
        "output_dir": str(out),
        "use_cpu": cpu,
        "bf16": not cpu,
        "seed": seed,
        "learning_rate": settings["learning_rate"],
        "lr_scheduler_type": "constant",
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "num_generations": settings["rollouts"],
        "per_device_train_batch_size": settings["mini_batch_size"] * settings["rollouts"],
        "gradient_accumulation_steps": 1,
        "steps_per_generation": updates,
        "num_iterations": 1,
        "max_steps": steps * updates,
        "max_prompt_length": settings["max_prompt_length"],
        "max_completion_length": settings["max_response_length"],
        "temperature": settings["temperature"],
        "epsilon": settings["clip_low"],
        "epsilon_high": settings["clip_high"],
        "beta": 0.0,
        "loss_type": "dapo",  # the mean over all tokens of the update, verl's token-mean
        "scale_rewards": "group",
        "save_strategy": "steps",
        "save_steps": spacing(steps) * updates,
        "save_only_model": True,
        "logging_steps": updates,
        "disable_tqdm": True,
        "report_to": "none",
        **settings.get("options", {}),
    }


def train(
    *, settings: dict, model: Path, data: Path, seed: int, gpus: int, out: list[Path]
) -> pd.DataFrame:
    """One epoch of GRPO; writes the checkpoints `out` and returns the curves."""
    steps = steps_of_epoch(len(pd.read_parquet(data)), settings["batch_size"])
    hide_media_packages()
    import torch
    from transformers import AutoModelForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    if settings["device"] == "cpu":
        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="grpo-", dir=out[0].parent) as run:
        options = arguments(settings, out=Path(run), steps=steps, seed=seed)
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
            reward_funcs=trl_reward,
            args=GRPOConfig(**options),
            train_dataset=prompts(data),
        )
        check_reward(trainer)
        trainer.train()
        updates = options["steps_per_generation"]
        for step, checkpoint in zip(fifths(steps), out, strict=True):
            export(Path(run) / f"checkpoint-{step * updates}", model, checkpoint)
        curves = trl_curves(trainer.state.log_history)
    return curves.assign(step=range(1, len(curves) + 1))


def check_reward(trainer) -> None:
    """Raise InputError unless our reward, and no other, is in use."""
    if trainer.reward_funcs != [trl_reward]:
        raise InputError("grpo: TRL has another reward than crosslens.grpo.reward.trl_reward")


def prompts(data: Path):
    """TRL's data set from verl's parquet: conversational prompts and the right answers."""
    from datasets import Dataset

    table = pd.read_parquet(data)
    return Dataset.from_list(
        [
            {"prompt": [dict(turn) for turn in row.prompt], "ground_truth": gold["ground_truth"]}
            for row, gold in zip(table.itertuples(), table["reward_model"], strict=True)
        ]
    )
