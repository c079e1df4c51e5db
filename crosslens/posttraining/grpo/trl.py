"""Run GRPO with TRL's GRPOTrainer, the second backend, with the same settings as verl."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pandas as pd

from crosslens.config.sections import GRPOConfig
from crosslens.io.errors import InputError
from crosslens.io.records import read_json
from crosslens.models.tokenizer import load_tokenizer
from crosslens.posttraining import resumable_run
from crosslens.posttraining.backend_process import hide_media_packages
from crosslens.posttraining.checkpoint_schedule import (
    save_interval,
    saved_checkpoint_steps,
    steps_per_epoch,
)
from crosslens.posttraining.checkpoints import export_checkpoint
from crosslens.posttraining.grpo.curves import trl_curves
from crosslens.posttraining.grpo.prompts import copy_tokenizer, fitting_prompts
from crosslens.posttraining.grpo.reward import trl_reward

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOTrainer

DUAL_CLIP = 3.0  # verl's clip_ratio_c, the largest ratio with a negative advantage


def trainer_arguments(settings: GRPOConfig, *, out: Path, steps: int, seed: int) -> dict:
    """Return GRPOConfig's arguments.

    `steps` counts batches of rollouts. Each has `batch_size / mini_batch_size` optimizer steps of
    TRL, whose batch sizes count completions, not prompts.
    """
    updates = settings.batch_size // settings.mini_batch_size
    cpu = settings.device == "cpu"
    return {
        "output_dir": str(out),
        "use_cpu": cpu,
        "bf16": not cpu,
        "seed": seed,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "num_generations": settings.rollouts,
        "per_device_train_batch_size": settings.mini_batch_size * settings.rollouts,
        "gradient_accumulation_steps": 1,
        "steps_per_generation": updates,
        "num_iterations": 1,
        "max_steps": steps * updates,
        "max_completion_length": settings.max_response_length,
        "temperature": settings.temperature,
        "epsilon": settings.clip_low,
        "epsilon_high": settings.clip_high,
        "delta": DUAL_CLIP,
        "beta": 0.0,
        "loss_type": "bnpo",  # mean over an update's tokens; dapo weights updates by their tokens
        "scale_rewards": "group",
        "gradient_checkpointing": not cpu,
        "save_strategy": "steps",
        "save_steps": save_interval(steps, settings.save_every) * updates,
        "save_only_model": False,  # an interrupted run resumes from the last checkpoint
        "logging_steps": updates,
        "disable_tqdm": True,
        "report_to": "none",
    } | settings.engine_options


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
    """Train one epoch on one device, write the checkpoints `out`, and return the curves.

    An interrupted run resumes from its last complete checkpoint in the directory `run`, which the
    caller deletes. Raises InputError when `run` holds checkpoints of a different run.
    """
    hide_media_packages()
    with TemporaryDirectory() as folder:
        tokenizer = copy_tokenizer(model, Path(folder, "tokenizer"))
        prompts = fitting_prompts(data, tokenizer, settings.max_prompt_length)
    steps = steps_per_epoch(len(prompts), settings.batch_size)
    identity = resumable_run.run_identity(
        model=model, data=data, settings=settings, seed=seed, devices=1, software=software
    )
    resume = resumable_run.start_or_resume(run, identity)
    options = trainer_arguments(settings, out=run, steps=steps, seed=seed)
    updates = options["steps_per_generation"]
    saved = [
        run / f"checkpoint-{n * updates}"
        for n in saved_checkpoint_steps(steps, settings.save_every)
    ]
    if resume != saved[-1]:
        run_trainer(
            prompts, model, options, {resumable_run.checkpoint_step(path) for path in saved}, resume
        )
    for checkpoint, target in zip(saved, out, strict=True):
        export_checkpoint(checkpoint, model, target)
    return trl_curves(read_json(saved[-1] / "trainer_state.json")["log_history"])


def run_trainer(
    prompts: pd.DataFrame, model: Path, options: dict, kept: set[int], resume: Path | None
) -> None:
    """Run TRL's trainer, from a checkpoint if there is one; keep the models of updates `kept`."""
    import torch
    from transformers import AutoModelForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    from crosslens.models.sampling import stop_token_ids

    if options["use_cpu"]:
        torch.set_num_threads(int(resumable_run.run_threads(Path(options["output_dir"]))))
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    tokenizer = load_tokenizer(model)
    network.generation_config.eos_token_id = stop_token_ids(network, tokenizer)
    trainer = GRPOTrainer(
        model=network,
        reward_funcs=trl_reward,
        args=GRPOConfig(**options),
        train_dataset=build_dataset(prompts),
        processing_class=tokenizer,
        callbacks=[step_timer(), checkpoint_pruner(kept)],
    )
    check_reward(trainer)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)


def check_reward(trainer: "GRPOTrainer") -> None:
    """Raise InputError unless the only reward is this project's."""
    if trainer.reward_funcs != [trl_reward]:
        raise InputError(
            "grpo.engine_options: TRL does not use the reward "
            "crosslens.posttraining.grpo.reward.trl_reward. Remove the reward settings."
        )


def step_timer() -> "TrainerCallback":
    """Return a callback that adds the seconds since the previous line to TRL's log."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def on_train_begin(self, *_, **__) -> None:
            self.last = time.monotonic()

        def on_log(self, args, state, control, **__) -> None:
            now = time.monotonic()
            state.log_history[-1]["step_time"] = now - self.last
            self.last = now

    return Clock()


def checkpoint_pruner(kept: set[int]) -> "TrainerCallback":
    """Return a callback that keeps the last training state and the models of updates `kept`."""
    from transformers import TrainerCallback

    class Keeper(TrainerCallback):
        def on_save(self, args, state, control, **__) -> None:
            resumable_run.mark_complete_and_prune(
                Path(args.output_dir) / f"checkpoint-{state.global_step}", kept
            )

    return Keeper()


def build_dataset(prompts: pd.DataFrame) -> "Dataset":
    """Return TRL's data set from the rows of verl's parquet: conversations and answers."""
    from datasets import Dataset

    answers = [reward["ground_truth"] for reward in prompts["reward_model"]]
    conversations = [[dict(turn) for turn in turns] for turns in prompts["prompt"]]
    return Dataset.from_dict({"prompt": conversations, "ground_truth": answers})
