"""verl's command line, composed and validated by verl's own configuration and validator."""

import os
import re
from pathlib import Path

import pytest
import torch
import verl
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException, InstantiationException
from omegaconf import DictConfig
from pydantic import ValidationError
from tiny_models import tiny_model
from transformers import AutoModelForCausalLM
from verl.single_controller.ray.base import ResourcePoolManager
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import omega_conf_to_dataclass, validate_config

from crosslens.config.sections import GRPOConfig
from crosslens.posttraining.grpo.overrides import hydra_literal, verl_overrides
from crosslens.posttraining.grpo.verl import backend_environment

# The critic is verl's default, and off with GRPO: verl warns where it is not said.
pytestmark = pytest.mark.filterwarnings("ignore:Disabled critic")
CONFIGS = Path(verl.__file__).parent / "trainer" / "config"
PAPER = GRPOConfig(
    device="cuda",
    learning_rate=1.0e-6,
    batch_size=128,
    mini_batch_size=64,
    rollouts=8,
    clip_low=0.22,
    clip_high=0.28,
    max_prompt_length=1024,
    max_response_length=16384,
    temperature=1.0,
    tokens_per_device=18432,
)


def composed(arguments: list[str]) -> DictConfig:
    """Return the configuration that verl would use, without Hydra's own keys."""
    with initialize_config_dir(str(CONFIGS), version_base=None):
        return compose("ppo_trainer", [a for a in arguments if not a.startswith("hydra.")])


def arguments(
    *, gpus: int = 8, model: str = "/models/base", resume: Path | None = None, **changes
) -> list[str]:
    return verl_overrides(
        PAPER.model_copy(update=changes),
        model=Path(model),
        tokenizer=Path("/run/tokenizer"),
        data=Path("/data/grpo.parquet"),
        out=Path("/run/checkpoints"),
        save_every=73,
        seed=5,
        gpus=gpus,
        resume=resume,
    )


def validated(**changes) -> DictConfig:
    config = composed(arguments(**changes))
    validate_config(config, need_reference_policy(config), need_critic(config))
    return config


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_settings_of_the_paper_pass_verls_validator(device: str) -> None:
    config = validated(device=device)
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    assert config.algorithm.adv_estimator == "grpo"
    assert config.algorithm.norm_adv_by_std_in_grpo
    assert (config.data.train_batch_size, actor.ppo_mini_batch_size, rollout.n) == (128, 64, 8)
    assert (actor.clip_ratio_low, actor.clip_ratio_high, actor.clip_ratio_c) == (0.22, 0.28, 3.0)
    assert (actor.policy_loss.loss_mode, actor.loss_agg_mode) == ("vanilla", "token-mean")
    assert (actor.use_kl_loss, config.algorithm.use_kl_in_reward) == (False, False)
    assert (actor.kl_loss_coef, actor.entropy_coeff, actor.ppo_epochs) == (0, 0, 1)
    assert (actor.optim.lr, actor.optim.lr_scheduler_type) == (1.0e-6, "constant")
    assert (actor.optim.weight_decay, actor.optim.clip_grad) == (0.01, 1.0)
    assert (config.data.max_response_length, rollout.response_length) == (16384, 16384)
    assert (rollout.temperature, rollout.top_p, rollout.top_k) == (1.0, 1, -1)
    assert (config.trainer.total_epochs, config.trainer.save_freq) == (1, 73)
    assert not need_critic(config) and not need_reference_policy(config)


def test_cpu_changes_nothing_of_the_algorithm() -> None:
    cpu, cuda = validated(device="cpu"), validated(device="cuda")
    assert cpu.algorithm == cuda.algorithm
    assert cpu.data == cuda.data
    assert cpu.reward.custom_reward_function == cuda.reward.custom_reward_function
    for key in ("policy_loss", "optim", "loss_agg_mode", "clip_ratio_low", "clip_ratio_high"):
        assert cpu.actor_rollout_ref.actor[key] == cuda.actor_rollout_ref.actor[key]
    assert (cpu.actor_rollout_ref.rollout.name, cuda.actor_rollout_ref.rollout.name) == (
        "crosslens_cpu",
        "vllm",
    )


def test_devices() -> None:
    assert validated(gpus=8).trainer.n_gpus_per_node == 8
    assert validated(gpus=0, device="cpu").trainer.n_gpus_per_node == 1
    assert backend_environment("cpu")["VERL_PLATFORM"] == "cpu"
    assert not {"VERL_PLATFORM", "CUDA_VISIBLE_DEVICES"} & backend_environment("cuda").keys()


def test_ray_counts_the_jobs_cores_not_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer slots than actors verl would wait for ever; with all of a node's, start slowly."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(192)))
    slots = [validated(gpus=gpus).ray_kwargs.ray_init.num_cpus for gpus in (1, 8)]
    assert slots == [192, 192]
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "96")
    assert validated(gpus=8).ray_kwargs.ray_init.num_cpus == 96
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "4")
    needed = [validated(gpus=gpus).ray_kwargs.ray_init.num_cpus for gpus in (1, 8)]
    agents, rewards = validated().actor_rollout_ref.rollout.agent, validated().reward
    for gpus, slots in zip((1, 8), needed, strict=True):
        colocated = (
            ResourcePoolManager.max_colocate_count
        )  # slots of a placement group, for each GPU
        assert slots >= 1 + agents.num_workers + rewards.num_workers + colocated * gpus


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_attention_needs_no_flash_attn(device: str, tmp_path: Path) -> None:
    model = tiny_model(tmp_path)
    keys = arguments(gpus=1, model=str(model), device=device)
    config = composed(keys).actor_rollout_ref.model
    config.tokenizer_path = str(model)
    read = omega_conf_to_dataclass(config)
    assert read.hf_config._attn_implementation == "sdpa"
    network = AutoModelForCausalLM.from_pretrained(model, config=read.hf_config)  # as verl loads it
    assert network.config._attn_implementation == "sdpa"


def test_packed_prompts_do_not_attend_to_each_other_in_sdpa(tmp_path: Path) -> None:
    """Without padding verl packs prompts into one row, with positions that restart."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model(tmp_path), attn_implementation="sdpa")
    rows = [torch.randint(1, 40, (1, length)) for length in (7, 11, 5)]
    positions = torch.cat([torch.arange(row.shape[1]) for row in rows])[None]
    packed = model(torch.cat(rows, 1), position_ids=positions, use_cache=False).logits
    alone = torch.cat([model(row, use_cache=False).logits for row in rows], 1)
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-5)


def test_seed_is_used_for_data_rollouts_and_updates() -> None:
    config = validated()
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    assert (config.data.seed, rollout.seed, actor.data_loader_seed) == (5, 5, 5)


def test_checkpoints_have_the_complete_training_state() -> None:
    config = validated()
    saved = config.actor_rollout_ref.actor.checkpoint
    assert {*saved.load_contents} < {*saved.save_contents}
    assert {*saved.load_contents} == {"model", "optimizer", "extra"}
    assert (config.trainer.resume_mode, config.trainer.resume_from_path) == ("disable", None)
    assert config.trainer.default_local_dir == "/run/checkpoints"


def test_run_resumes_from_the_named_checkpoint_only() -> None:
    checkpoint = Path("/run/global_step_40")
    config = composed(arguments(resume=checkpoint))
    validate_config(config, need_reference_policy(config), need_critic(config))
    assert config.trainer.resume_mode == "resume_path"
    assert config.trainer.resume_from_path == str(checkpoint)


def test_verl_refuses_unknown_keys() -> None:
    actor = "actor_rollout_ref.actor"
    with pytest.raises(ConfigCompositionException, match="not_a_key"):
        validated(engine_options={f"{actor}.not_a_key": 1})
    with pytest.raises(InstantiationException, match="not-a-mode"):
        validated(engine_options={f"{actor}.loss_agg_mode": "not-a-mode"})


def test_options_take_precedence() -> None:
    config = validated(
        engine_options={
            "actor_rollout_ref.rollout.gpu_memory_utilization": 0.8,
            "actor_rollout_ref.actor.fsdp_config.param_offload": True,
            "actor_rollout_ref.actor.optim.lr": 3.0e-6,
            "trainer.logger": ["console"],
            "+ray_kwargs.ray_init.address": None,
        }
    )
    assert config.actor_rollout_ref.rollout.gpu_memory_utilization == 0.8
    assert config.actor_rollout_ref.actor.fsdp_config.param_offload is True
    assert config.actor_rollout_ref.actor.optim.lr == 3.0e-6
    assert config.trainer.logger == ["console"]
    assert config.ray_kwargs.ray_init.address is None


@pytest.mark.parametrize(
    "value",
    ["/a b/c=d,(e)", "it's", "a\\b", "ends in \\", "\\'", 1e-06, [1, "x y"], {"k": [None, True]}],
)
def test_any_value_reaches_verl_unchanged(value: object) -> None:
    assert (
        composed(["actor_rollout_ref.rollout.name=x", f"+mine={hydra_literal(value)}"]).mine
        == value
    )


def test_verl_loads_this_reward_and_calls_it_by_keyword() -> None:
    score = get_custom_reward_fn(validated())
    said = {"data_source": "tiny", "solution_str": "so \\boxed{ 1/2 }", "extra_info": {}}
    assert score(**said, ground_truth="0.5") == 1.0
    assert score(**said, ground_truth="2") == 0.0


def test_reward_key_that_verl_ignores_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("def compute_score(**_):\n    return 1.0\n")
    old = {
        "custom_reward_function.path": str(tmp_path / "other.py"),
        "custom_reward_function.name": "compute_score",
    }
    alone = ["actor_rollout_ref.rollout.name=vllm", *(f"{k}={v}" for k, v in old.items())]
    assert get_custom_reward_fn(composed(alone)) is None  # its default scorer, without a word
    with pytest.raises(ValidationError, match=r"custom_reward_function.path: the reward is fixed"):
        GRPOConfig(engine_options=old)


@pytest.mark.parametrize(
    ("key", "refused"),
    [
        ("reward.custom_reward_function.name", True),
        ("+reward.custom_reward_function.reward_kwargs.scale", True),
        ("reward.reward_manager.name", True),
        ("reward_model.enable", True),
        ("reward_weights", True),
        ("reward.num_workers", False),
        ("scale_rewards", False),
        ("algorithm.use_kl_in_reward", False),
    ],
)
def test_which_options_would_change_the_reward(key: str, refused: bool) -> None:
    if refused:
        with pytest.raises(ValidationError, match=f"{re.escape(key)}: the reward is fixed"):
            GRPOConfig(engine_options={key: 1})
    else:
        GRPOConfig(engine_options={key: 1})
