"""TRL's and verl's own code on one batch: rollouts, rewards and log-probabilities are shared.

Each lives in an environment of its own, so verl's side runs as a program in the other one.
"""

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_grpo import TINY_GRPO
from tiny_models import tiny_problems, tiny_solver
from transformers import AutoModelForCausalLM
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import split_tensor_dict

from crosslens.data.traces import grpo_rows
from crosslens.posttraining.grpo import trl
from crosslens.posttraining.grpo.reward import trl_reward

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]
ROLLOUTS, UPDATES = 8, 2
SETTINGS = TINY_GRPO.model_copy(
    update={
        "learning_rate": 1.0e-3,
        "batch_size": 16,
        "mini_batch_size": 8,
        "rollouts": ROLLOUTS,
        "save_every": 1,
        "tokens_per_device": 18432,
    }
)
VERL = """
import sys
from pathlib import Path
import numpy as np
import torch
import verl
from hydra import compose, initialize_config_dir
from verl.trainer.ppo.core_algos import get_adv_estimator_fn, get_policy_loss_fn
from verl.utils.config import omega_conf_to_dataclass
from crosslens.config.sections import GRPOConfig
from crosslens.posttraining.grpo.overrides import verl_overrides

folder, settings = Path(sys.argv[1]), GRPOConfig.model_validate_json(sys.argv[2])
batch = {key: torch.from_numpy(value) for key, value in np.load(folder / "batch.npz").items()}
paths = dict.fromkeys(("model", "tokenizer", "data", "out"), folder)
arguments = verl_overrides(settings, **paths, save_every=1, seed=0, gpus=0)
with initialize_config_dir(
    str(Path(verl.__file__).parent / "trainer" / "config"), version_base=None
):
    config = compose("ppo_trainer", [a for a in arguments if not a.startswith("hydra.")])
actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)

mask = batch["mask"]
rewards = torch.zeros(mask.shape)
rewards[:, -1] = batch["rewards"]  # verl sums over the tokens
advantages, _ = get_adv_estimator_fn(config.algorithm.adv_estimator)(
    token_level_rewards=rewards,
    response_mask=mask,
    index=np.arange(len(mask)) // settings.rollouts,
    norm_adv_by_std_in_grpo=config.algorithm.norm_adv_by_std_in_grpo,
)
new = batch["new"].requires_grad_()
losses, clipped = [], []
for rows in torch.arange(len(mask)).chunk(settings.batch_size // settings.mini_batch_size):
    loss, metrics = get_policy_loss_fn(actor.policy_loss.loss_mode)(
        old_log_prob=batch["old"][rows],
        log_prob=new[rows],
        advantages=advantages[rows],
        response_mask=mask[rows],
        loss_agg_mode=actor.loss_agg_mode,
        config=actor,
    )
    loss.backward()
    losses.append(loss.item())
    clipped.append([metrics["actor/pg_clipfrac"], metrics["actor/pg_clipfrac_lower"]])
np.savez(
    folder / "verl.npz",
    advantages=(advantages * mask).sum(1) / mask.sum(1),
    loss=losses,
    clipped=clipped,
    gradient=new.grad,
)
"""


@pytest.fixture(scope="module")
def trainer(tmp_path_factory) -> GRPOTrainer:
    """Return TRL's trainer with the arguments of a run."""
    path = tmp_path_factory.mktemp("run")
    base = tiny_solver(path / "base")
    config = GRPOConfig(**trl.trainer_arguments(SETTINGS, out=path / "out", steps=5, seed=0))
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(base),
        reward_funcs=trl_reward,
        args=config,
        train_dataset=trl.build_dataset(pd.DataFrame(grpo_rows(tiny_problems(80), 16))),
    )
    trainer.current_gradient_accumulation_steps = config.gradient_accumulation_steps  # as train()
    return trainer


@pytest.fixture(scope="module")
def step(trainer: GRPOTrainer) -> dict[str, torch.Tensor]:
    """Return the graded rollouts of a step, after which the model is changed considerably."""
    trainer.model.train()
    inputs = trainer._generate_and_score_completions(next(iter(trainer.get_train_dataloader())))
    rewards = torch.tensor(list(trainer._logs["rewards"]["trl_reward"]))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=generator)
    return inputs | {"rewards": rewards, "new": log_probabilities(trainer, inputs).detach()}


def log_probabilities(trainer: GRPOTrainer, inputs: dict) -> torch.Tensor:
    """Return log-probabilities of the completions under the current model."""
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    width = inputs["completion_ids"].shape[1]
    return trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, width)[0]


@pytest.fixture(scope="module")
def verl(step: dict[str, torch.Tensor], tmp_path_factory) -> dict[str, np.ndarray]:
    """Return verl's advantages, loss and gradient for the step."""
    folder = tmp_path_factory.mktemp("verl")
    names = {"rewards": "rewards", "old": "old_per_token_logps", "new": "new"}
    arrays = {ours: step[theirs].numpy() for ours, theirs in names.items()}
    np.savez(folder / "batch.npz", mask=step["completion_mask"].numpy(), **arrays)
    python = ROOT / ".venvs" / "grpo" / "bin" / "python"
    subprocess.run([python, "-c", VERL, folder, SETTINGS.model_dump_json()], check=True)
    return dict(np.load(folder / "verl.npz"))


def losses(trainer: GRPOTrainer, step: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return TRL's loss of each update of the step."""
    halves = split_tensor_dict(
        {key: step[key] for key in step if key != "num_items_in_batch"}, UPDATES
    )
    tokens = {"num_items_in_batch": step["num_items_in_batch"]}
    return [trainer.compute_loss(trainer.model, half | tokens) for half in halves]


def gradient(trainer: GRPOTrainer, scalar: torch.Tensor) -> torch.Tensor:
    """Return the gradient of all weights as one vector."""
    parts = torch.autograd.grad(scalar, list(trainer.model.parameters()))
    return torch.cat([part.flatten() for part in parts])


def test_batch_has_all_cases_to_compare(step: dict, verl: dict) -> None:
    groups = step["rewards"].view(-1, ROLLOUTS).mean(1)
    assert ((groups > 0) & (groups < 1)).any() and (groups == 0).any()
    ratio = (step["new"] - step["old_per_token_logps"]).exp()[step["completion_mask"].bool()]
    assert (ratio < 0.78).any() and (ratio > 1.28).any() and (ratio > 3).any()
    assert (verl["clipped"].max(0) > 0).all()  # at either side, and by the dual clip
    lengths = step["completion_mask"].sum(1)
    assert lengths.min() < lengths.max()


def test_advantages_agree(step: dict, verl: dict) -> None:
    """They differ only by the constant added to the deviation: 1e-4 in TRL, 1e-6 in verl."""
    ours, theirs = step["advantages"].numpy(), verl["advantages"]
    assert ours == pytest.approx(theirs, rel=3e-4, abs=0)
    rewards = step["rewards"].view(-1, ROLLOUTS).double()
    centred = rewards - rewards.mean(1, keepdim=True)
    exact = (centred / (rewards.std(1, keepdim=True) + 1e-6)).flatten()
    assert theirs == pytest.approx(exact.numpy(), rel=1e-5, abs=1e-6)


def test_clipped_losses_agree(trainer: GRPOTrainer, step: dict, verl: dict) -> None:
    trainer._metrics["train"].clear()
    ours = [loss.item() for loss in losses(trainer, step)]
    assert ours == pytest.approx(verl["loss"].tolist(), rel=3e-4, abs=1e-6)
    clipped = trainer._metrics["train"]["clip_ratio/region_mean"]
    assert clipped == pytest.approx(verl["clipped"][:, 0].tolist(), abs=1e-6)


def test_gradients_agree(trainer: GRPOTrainer, step: dict, verl: dict) -> None:
    ours = gradient(trainer, sum(losses(trainer, step)))
    chosen = log_probabilities(trainer, step)
    theirs = gradient(trainer, (chosen * torch.from_numpy(verl["gradient"])).sum())
    assert (ours - theirs).norm() < 3e-4 * theirs.norm()


def test_losses_differ_without_the_dual_clip(
    trainer: GRPOTrainer, step: dict, verl: dict, monkeypatch
) -> None:
    monkeypatch.setattr(trainer.args, "delta", None)
    ours = np.array([loss.item() for loss in losses(trainer, step)])
    assert (ours > verl["loss"] + 1e-3).any()


def test_default_loss_of_trl_would_weight_updates_by_their_tokens(
    trainer: GRPOTrainer, step: dict, monkeypatch
) -> None:
    """The loss `dapo` divides by the mean number of tokens of updates on the same rollouts."""
    mean = torch.stack(losses(trainer, step)).detach()
    monkeypatch.setattr(trainer, "loss_type", "dapo")
    weighed = torch.stack(losses(trainer, step)).detach()
    tokens = step["completion_mask"].view(UPDATES, -1).sum(1)
    expected = mean * tokens / tokens.float().mean()
    assert weighed.numpy() == pytest.approx(expected.numpy(), rel=1e-4)
