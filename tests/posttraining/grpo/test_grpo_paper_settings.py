"""The paper's GRPO (appendix A.3) as verl's own configuration and validator read it."""

from pathlib import Path

import pytest
import yaml
from omegaconf import DictConfig
from test_overrides import composed
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config as validate

from crosslens.config.sections import GRPOConfig
from crosslens.config.study import StudyConfig
from crosslens.posttraining.checkpoint_schedule import save_interval
from crosslens.posttraining.grpo.overrides import verl_overrides

pytestmark = pytest.mark.filterwarnings("ignore:Disabled critic")
ROOT = Path(__file__).resolve().parents[3]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
STUDY = StudyConfig.model_validate(CONFIG)


def validated(settings: GRPOConfig, steps: int, gpus: int) -> DictConfig:
    """Return what verl would run with, past verl's validator."""
    arguments = verl_overrides(
        settings,
        model=Path("/models/base"),
        tokenizer=Path("/run/tokenizer"),
        data=Path("/data/grpo.parquet"),
        out=Path("/run/checkpoints"),
        save_every=save_interval(steps, settings.save_every),
        seed=0,
        gpus=gpus,
    )
    found = composed(arguments)
    validate(found, need_reference_policy(found), need_critic(found))
    return found


@pytest.fixture(params=CONFIG["families"])
def config(request) -> DictConfig:
    """Return each family's settings on eight GPUs."""
    gpus = CONFIG["resources"]["train_grpo"]["gpu"]
    return validated(STUDY.training_of(request.param).grpo, 367, gpus)


def test_appendix_a3(config: DictConfig) -> None:
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    assert config.algorithm.adv_estimator == "grpo"
    assert config.data.train_batch_size == 128  # "an overall batch size of 128", in prompts
    assert actor.ppo_mini_batch_size == 64  # "mini-batches of 64 samples", in prompts
    assert rollout.n == 8  # "8 rollouts per prompt"
    assert actor.optim.lr == 1.0e-6
    assert config.data.max_response_length == 16_384  # "up to 16k tokens"
    assert (actor.clip_ratio_low, actor.clip_ratio_high) == (0.22, 0.28)
    assert (actor.use_kl_loss, actor.kl_loss_coef, actor.entropy_coeff) == (False, 0, 0)
    assert not config.algorithm.use_kl_in_reward
    assert config.trainer.total_epochs == 1


def test_on_eight_gpus(config: DictConfig) -> None:
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    assert (config.trainer.n_gpus_per_node, config.trainer.nnodes) == (8, 1)
    assert (rollout.name, rollout.tensor_model_parallel_size) == ("vllm", 1)
    longest = config.data.max_prompt_length + config.data.max_response_length
    assert actor.ppo_max_token_len_per_gpu >= longest
    assert rollout.log_prob_max_token_len_per_gpu >= longest
    assert 0.5 <= rollout.gpu_memory_utilization <= 0.75


def test_small_yaml_on_one_gpu() -> None:
    small = yaml.safe_load((ROOT / "small.yaml").read_text())
    settings = StudyConfig.model_validate(small).training_of("qwen2.5-0.5b").grpo
    found = validated(settings, 7473 // settings.batch_size, 1)
    actor, rollout = found.actor_rollout_ref.actor, found.actor_rollout_ref.rollout
    assert (found.trainer.n_gpus_per_node, rollout.name) == (1, "vllm")
    assert actor.ppo_max_token_len_per_gpu >= 512 + 768
    assert rollout.gpu_memory_utilization == 0.4
