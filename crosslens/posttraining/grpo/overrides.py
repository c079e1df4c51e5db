"""Translate the `grpo` section to verl's command line, as Hydra overrides."""

import json
import re
from pathlib import Path
from typing import Any

from crosslens.config.sections import GRPOConfig
from crosslens.posttraining.backend_process import job_cores

REWARD = Path(__file__).with_name("reward.py")
ROUTER = Path(__file__).with_name("no_router.yaml")
MANAGER = "crosslens.posttraining.grpo.batch_rollout.BatchRollout"
AGENT_LOOP = Path(__file__).with_name("agent_loop.yaml")

TRAINING_STATE = [
    "model",
    "optimizer",
    "extra",
]  # with less, verl would restart from the base model
REWARD_OVERRIDES = {
    "reward.custom_reward_function.path": REWARD,
    "reward.custom_reward_function.name": "compute_score",
    "reward.reward_manager.name": "naive",
}

# The only differences on a CPU: the plugin's rollout, logical slots for Ray, no compilation.
CPU_OVERRIDES = {
    "actor_rollout_ref.rollout.name": "crosslens_cpu",
    "actor_rollout_ref.rollout.load_format": "auto",
    "+actor_rollout_ref.rollout.agent.agent_loop_manager_class": MANAGER,
    "actor_rollout_ref.rollout.router_config_path": ROUTER,
    "+actor_rollout_ref.model.override_config.attn_implementation": "sdpa",
    "actor_rollout_ref.model.use_remove_padding": False,
    "actor_rollout_ref.model.enable_gradient_checkpointing": False,
    "actor_rollout_ref.actor.use_torch_compile": False,
    "actor_rollout_ref.ref.use_torch_compile": False,
    "actor_rollout_ref.actor.fsdp_config.model_dtype": "fp32",
    "actor_rollout_ref.actor.fsdp_config.dtype": "float32",
    "++actor_rollout_ref.actor.fsdp_config.mixed_precision": {
        "param_dtype": "fp32",
        "reduce_dtype": "fp32",
        "buffer_dtype": "fp32",
    },
    "actor_rollout_ref.rollout.dtype": "float32",
    "+ray_kwargs.ray_init.num_gpus": 1,
    "ray_kwargs.ray_init.num_cpus": 8,
    "reward.num_workers": 0,  # the manager rewards
    "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
}
SLOTS, SLOTS_PER_GPU = 20, 3  # verl's samplers, rewards and queue; its workers on a GPU
CUDA_OVERRIDES = {
    "actor_rollout_ref.rollout.name": "vllm",
    # verl's default, FlashAttention 2, comes without a wheel for this PyTorch.
    "+actor_rollout_ref.model.override_config.attn_implementation": "sdpa",
    "actor_rollout_ref.model.use_remove_padding": True,
    "actor_rollout_ref.model.enable_gradient_checkpointing": True,
}


def verl_overrides(
    settings: GRPOConfig,
    *,
    model: Path,
    tokenizer: Path,
    data: Path,
    out: Path,
    save_every: int,
    seed: int,
    gpus: int,
    resume: Path | None = None,
) -> list[str]:
    """Return verl's overrides for GRPO: two clips, no KL, no entropy bonus, outcome reward.

    `settings` is the configuration's `grpo`; its `engine_options`, verl's own keys, take
    precedence. Batch sizes count prompts (Appendix A.3). `resume` is the checkpoint to resume
    from.
    """
    keys = (
        data_overrides(settings, data, seed)
        | {"actor_rollout_ref.model.path": model}
        | {"actor_rollout_ref.model.tokenizer_path": tokenizer}
        | rollout_overrides(settings, seed)
        | REWARD_OVERRIDES
        | actor_overrides(settings, seed)
        | trainer_overrides(settings, out, save_every, gpus)
        | resume_overrides(resume)
        | {"+ray_kwargs.ray_init.include_dashboard": False}
        | (cuda_overrides(gpus) if settings.device == "cuda" else cpu_overrides(settings))
        | settings.engine_options
    )
    return [f"{key}={hydra_literal(value)}" for key, value in keys.items()]


def data_overrides(settings: GRPOConfig, data: Path, seed: int) -> dict[str, Any]:
    """Return the overrides on data: files, batch size, lengths, order."""
    return {
        "data.train_files": [data],
        "data.val_files": [data],  # must exist even without validation
        "data.train_batch_size": settings.batch_size,
        "data.max_prompt_length": settings.max_prompt_length,
        "data.max_response_length": settings.max_response_length,
        "data.filter_overlong_prompts": True,
        "data.truncation": "error",
        "data.shuffle": True,
        "data.seed": seed,
        "data.dataloader_num_workers": 0,
    }


def rollout_overrides(settings: GRPOConfig, seed: int) -> dict[str, Any]:
    """Return the overrides on sampling: several completions per prompt."""
    rollout = "actor_rollout_ref.rollout"
    return {
        f"{rollout}.n": settings.rollouts,
        f"{rollout}.seed": seed,
        f"{rollout}.temperature": settings.temperature,
        f"{rollout}.agent.agent_loop_config_path": AGENT_LOOP,
        f"{rollout}.agent.default_agent_loop": "crosslens",
        f"{rollout}.tensor_model_parallel_size": 1,
        f"{rollout}.log_prob_use_dynamic_bsz": True,
        f"{rollout}.log_prob_max_token_len_per_gpu": settings.tokens_per_device,
    }


def actor_overrides(settings: GRPOConfig, seed: int) -> dict[str, Any]:
    """Return the overrides on updates: group advantages, a clipped loss, no KL, no entropy."""
    actor = "actor_rollout_ref.actor"
    return {
        "algorithm.adv_estimator": "grpo",
        "algorithm.use_kl_in_reward": False,
        f"{actor}.strategy": "fsdp2",
        f"{actor}.optim.lr": settings.learning_rate,
        f"{actor}.ppo_mini_batch_size": settings.mini_batch_size,
        f"{actor}.ppo_epochs": 1,
        f"{actor}.use_dynamic_bsz": True,
        f"{actor}.ppo_max_token_len_per_gpu": settings.tokens_per_device,
        f"{actor}.clip_ratio_low": settings.clip_low,
        f"{actor}.clip_ratio_high": settings.clip_high,
        f"{actor}.use_kl_loss": False,
        f"{actor}.kl_loss_coef": 0,
        f"{actor}.entropy_coeff": 0,
        f"{actor}.calculate_entropy": True,  # for its curve
        f"{actor}.data_loader_seed": seed,
        f"{actor}.checkpoint.load_contents": TRAINING_STATE,
        f"{actor}.checkpoint.save_contents": [*TRAINING_STATE, "hf_model"],
    }


def cpu_overrides(settings: GRPOConfig) -> dict[str, Any]:
    """Return `CPU_OVERRIDES` with all completions of a step sampled in one batch."""
    return CPU_OVERRIDES | {
        "actor_rollout_ref.rollout.max_num_seqs": settings.batch_size * settings.rollouts
    }


def cuda_overrides(gpus: int) -> dict[str, Any]:
    """Return `CUDA_OVERRIDES` with Ray's slots: the job's cores, and at least one for each actor.

    By default Ray counts and fills all cores of the node, of which SLURM may have given a few.
    """
    slots = max(job_cores(), SLOTS + SLOTS_PER_GPU * gpus)
    return CUDA_OVERRIDES | {"ray_kwargs.ray_init.num_cpus": slots}


def trainer_overrides(
    settings: GRPOConfig, out: Path, save_every: int, gpus: int
) -> dict[str, Any]:
    """Return the overrides on the trainer: one epoch, no validation, devices, logs, saving."""
    return {
        "trainer.critic_warmup": 0,
        "trainer.val_before_train": False,
        "trainer.test_freq": -1,
        "trainer.total_epochs": 1,
        "trainer.save_freq": save_every,
        "trainer.nnodes": 1,
        "trainer.n_gpus_per_node": gpus if settings.device == "cuda" else 1,
        "trainer.logger": ["console", "file"],
        "trainer.project_name": "crosslens",
        "trainer.experiment_name": "grpo",
        "trainer.default_local_dir": out,
        "hydra.run.dir": out / "hydra",
    }


def resume_overrides(checkpoint: Path | None) -> dict[str, Any]:
    """Return the overrides on resuming, from `checkpoint` only.

    verl's default resumes from any checkpoint in the directory.
    """
    if checkpoint is None:
        return {"trainer.resume_mode": "disable"}
    return {"trainer.resume_mode": "resume_path", "trainer.resume_from_path": checkpoint}


def hydra_literal(value: Any) -> str:
    """Return a value in Hydra's grammar; text is quoted, so that paths may have any character."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{hydra_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{','.join(map(hydra_literal, value))}]"
    if isinstance(value, bool | int | float | None):
        return json.dumps(value)
    text = re.sub(r"(\\+)(?='|$)", r"\1\1", str(value)).replace("'", "\\'")
    return f"'{text}'"
