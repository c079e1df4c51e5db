"""From our `grpo` section to verl's command line: the paper's settings as Hydra overrides.

Light, for the checks before any job: imports neither verl nor torch.
"""

import json
import re
from pathlib import Path
from typing import Any

from crosslens.config.backend_options import check_grpo_options

REWARD = Path(__file__).with_name("reward.py")
REPLAY = Path(__file__).with_name("replay.py")
AGENT_LOOP = Path(__file__).with_name("agent_loop.yaml")

STATE = ["model", "optimizer", "extra"]  # with less, verl would go on from the base model
OUTCOME = {
    "reward.custom_reward_function.path": REWARD,
    "reward.custom_reward_function.name": "compute_score",
    "reward.reward_manager.name": "naive",
}

# What a CPU changes, and nothing else: the plugin's rollout, one order of the answers whichever
# comes first, logical slots for Ray, no compilation.
CPU = {
    "actor_rollout_ref.rollout.name": "crosslens_cpu",
    "actor_rollout_ref.rollout.load_format": "auto",
    "actor_rollout_ref.rollout.agent.num_workers": 1,
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
    "trainer.v1.sampler.custom_sampler.path": REPLAY,
    "trainer.v1.sampler.custom_sampler.name": "Ordered",
    "+ray_kwargs.ray_init.num_gpus": 1,
    "ray_kwargs.ray_init.num_cpus": 8,
    "+ray_kwargs.ray_init.include_dashboard": False,
    "reward.num_workers": 1,
    "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
}
CUDA = {
    "actor_rollout_ref.rollout.name": "vllm",
    # verl's default, FlashAttention 2, comes without a wheel for this PyTorch.
    "+actor_rollout_ref.model.override_config.attn_implementation": "sdpa",
    "actor_rollout_ref.model.use_remove_padding": True,
    "actor_rollout_ref.model.enable_gradient_checkpointing": True,
}


def overrides(
    settings: dict,
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
    """verl's overrides for one run of GRPO: two clips, no KL, no entropy bonus, outcome reward.

    `settings` is the configuration's `grpo`; its `options`, verl's own keys, have the last word.
    Batch sizes count prompts (Appendix A.3). `resume` is a checkpoint to go on from. Raises
    InputError when the options name another reward.
    """
    options = settings.get("options", {})
    check_grpo_options(options)
    keys = (
        prompts(settings, data, seed)
        | {"actor_rollout_ref.model.path": model}
        | {"actor_rollout_ref.model.tokenizer_path": tokenizer}
        | rollouts(settings, seed)
        | OUTCOME
        | updates(settings, seed)
        | trainer(settings, out, save_every, gpus)
        | resuming(resume)
        | (CUDA if settings["device"] == "cuda" else cpu(settings))
        | options
    )
    return [f"{key}={written(value)}" for key, value in keys.items()]


def prompts(settings: dict, data: Path, seed: int) -> dict[str, Any]:
    """What is read, and how much of it: batches of prompts, shuffled."""
    return {
        "data.train_files": [data],
        "data.val_files": [data],  # must exist even where validation is off
        "data.train_batch_size": settings["batch_size"],
        "data.max_prompt_length": settings["max_prompt_length"],
        "data.max_response_length": settings["max_response_length"],
        "data.filter_overlong_prompts": True,
        "data.truncation": "error",
        "data.shuffle": True,
        "data.seed": seed,
        "data.dataloader_num_workers": 0,
    }


def rollouts(settings: dict, seed: int) -> dict[str, Any]:
    """How answers are sampled: several to each prompt."""
    rollout = "actor_rollout_ref.rollout"
    return {
        f"{rollout}.n": settings["rollouts"],
        f"{rollout}.seed": seed,
        f"{rollout}.temperature": settings["temperature"],
        f"{rollout}.agent.agent_loop_config_path": AGENT_LOOP,
        f"{rollout}.agent.default_agent_loop": "crosslens",
        f"{rollout}.tensor_model_parallel_size": 1,
        f"{rollout}.log_prob_use_dynamic_bsz": True,
        f"{rollout}.log_prob_max_token_len_per_gpu": settings["tokens_per_device"],
    }


def updates(settings: dict, seed: int) -> dict[str, Any]:
    """What the actor learns by: group advantages and a clipped loss, without KL or entropy."""
    actor = "actor_rollout_ref.actor"
    return {
        "algorithm.adv_estimator": "grpo",
        "algorithm.use_kl_in_reward": False,
        f"{actor}.strategy": "fsdp2",
        f"{actor}.optim.lr": settings["learning_rate"],
        f"{actor}.ppo_mini_batch_size": settings["mini_batch_size"],
        f"{actor}.ppo_epochs": 1,
        f"{actor}.use_dynamic_bsz": True,
        f"{actor}.ppo_max_token_len_per_gpu": settings["tokens_per_device"],
        f"{actor}.clip_ratio_low": settings["clip_low"],
        f"{actor}.clip_ratio_high": settings["clip_high"],
        f"{actor}.use_kl_loss": False,
        f"{actor}.kl_loss_coef": 0,
        f"{actor}.entropy_coeff": 0,
        f"{actor}.calculate_entropy": True,  # for its curve
        f"{actor}.data_loader_seed": seed,
        f"{actor}.checkpoint.load_contents": STATE,
        f"{actor}.checkpoint.save_contents": [*STATE, "hf_model"],
    }


def cpu(settings: dict) -> dict[str, Any]:
    """`CPU`, with a step's answers sampled in one batch."""
    return CPU | {
        "actor_rollout_ref.rollout.max_num_seqs": settings["batch_size"] * settings["rollouts"]
    }


def trainer(settings: dict, out: Path, save_every: int, gpus: int) -> dict[str, Any]:
    """One epoch without validation: where it runs, what it logs, when it saves."""
    return {
        "trainer.critic_warmup": 0,
        "trainer.val_before_train": False,
        "trainer.test_freq": -1,
        "trainer.total_epochs": 1,
        "trainer.save_freq": save_every,
        "trainer.nnodes": 1,
        "trainer.n_gpus_per_node": gpus if settings["device"] == "cuda" else 1,
        "trainer.logger": ["console", "file"],
        "trainer.project_name": "crosslens",
        "trainer.experiment_name": "grpo",
        "trainer.default_local_dir": out,
        "hydra.run.dir": out / "hydra",
    }


def resuming(checkpoint: Path | None) -> dict[str, Any]:
    """What to go on from; never what happens to lie in the directory, as verl's default would."""
    if checkpoint is None:
        return {"trainer.resume_mode": "disable"}
    return {"trainer.resume_mode": "resume_path", "trainer.resume_from_path": checkpoint}


def written(value: Any) -> str:
    """A value in Hydra's grammar; text is quoted, so that a path may hold any character."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, bool | int | float | None):
        return json.dumps(value)
    text = re.sub(r"(\\+)(?='|$)", r"\1\1", str(value)).replace("'", "\\'")
    return f"'{text}'"
