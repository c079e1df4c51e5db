"""The outcome reward as verl and TRL call it."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from tensordict import TensorDict
from test_overrides import CONFIGS
from tiny_models import tiny_model
from transformers import AutoTokenizer
from verl import DataProto
from verl.trainer.ppo.reward import load_reward_manager

from crosslens.io.errors import InputError
from crosslens.posttraining.grpo import reward
from crosslens.posttraining.grpo.overrides import REWARD
from crosslens.posttraining.grpo.verl import check_reward


def one_answer(tokenizer, text: str, gold: str) -> DataProto:
    """Return a row as verl's agent loop passes it to the reward manager."""
    ids = torch.tensor([tokenizer(text)["input_ids"] + [tokenizer.eos_token_id]])
    batch = TensorDict({"responses": ids, "attention_mask": torch.ones_like(ids)}, batch_size=1)
    columns = {
        "data_source": "tiny",
        "reward_model": {"style": "rule", "ground_truth": gold},
        "extra_info": {"index": 0},
    }
    return DataProto(batch, {key: np.array([value], object) for key, value in columns.items()})


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return AutoTokenizer.from_pretrained(tiny_model(tmp_path_factory.mktemp("model")))


def test_reward_manager_of_verl_calls_this_reward(tokenizer, tmp_path: Path, monkeypatch) -> None:
    mark = tmp_path / "mark"
    monkeypatch.setenv(reward.MARK, str(mark))
    with initialize_config_dir(str(CONFIGS), version_base=None):
        config = compose(
            "ppo_trainer",
            [
                "actor_rollout_ref.rollout.name=vllm",
                f"reward.custom_reward_function.path={REWARD}",
                "reward.reward_manager.name=naive",
            ],
        )
    with pytest.raises(InputError, match="verl did not train with the reward crosslens"):
        check_reward(mark)

    async def grade(text: str, gold: str) -> float:
        manager = load_reward_manager(config, tokenizer)
        return (await manager.run_single(one_answer(tokenizer, text, gold)))["reward_score"]

    assert asyncio.run(grade("so , the answer is \\boxed{ 7 }", "7")) == 1.0
    assert asyncio.run(grade("so , the answer is \\boxed{ 7 }", "8")) == 0.0
    assert asyncio.run(grade("so , the answer is 7", "7")) == 0.0
    check_reward(mark)


def test_reward_works_in_other_threads() -> None:
    answers = ["\\boxed{\\frac{1}{2}}", "\\boxed{1/2}", "\\boxed{2}", "\\boxed{"] * 2

    def grade(answer: str) -> tuple[bool, float]:
        score = reward.compute_score(data_source="", solution_str=answer, ground_truth="0.5")
        return threading.current_thread() is threading.main_thread(), score

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(grade, answers)) == [(False, s) for s in [1.0, 1.0, 0.0, 0.0] * 2]


def test_trl_reward_gives_the_same_numbers() -> None:
    texts, golds = ["\\boxed{3}", "\\boxed{4}", "5"], ["3", "5", "5"]
    turns = [[{"role": "assistant", "content": text}] for text in texts]
    assert reward.trl_reward(completions=turns, ground_truth=golds, prompts=None) == [1.0, 0.0, 0.0]
    assert reward.trl_reward(completions=texts, ground_truth=golds) == [1.0, 0.0, 0.0]
