"""verl's completions on a CPU: sampled together, rewarded, in the order of their tokens."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from tiny_models import tiny_problems, tiny_solver
from transformers import AutoTokenizer

from crosslens.data.grading import is_correct
from crosslens.data.traces import grpo_rows
from crosslens.posttraining.grpo import batch_rollout
from crosslens.posttraining.grpo.batch_rollout import BatchRollout, completion_tag
from crosslens.posttraining.grpo.batch_sampler import BatchSampler
from crosslens.posttraining.grpo.overrides import REWARD

PROMPTS, N, LENGTH = 6, 8, 8


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny_solver(tmp_path_factory.mktemp("base"))


@pytest.fixture
def rollout(base: Path, monkeypatch) -> BatchRollout:
    """Return a manager that samples in this process."""
    sampling = {"n": N, "temperature": 1.0, "top_p": 1, "top_k": -1}
    rollout = sampling | {"prompt_length": 64, "calculate_log_probs": True}
    model = {"path": str(base), "tokenizer_path": None}
    reward = {"custom_reward_function": {"path": str(REWARD), "name": "compute_score"}}
    config = OmegaConf.create(
        {"actor_rollout_ref": {"model": model, "rollout": rollout}, "data": {}, "reward": reward}
    )
    sampler = BatchSampler(str(base), seed=0, max_new_tokens=LENGTH, most=1000)

    def sample(prompts: list[list[int]], settings: dict[str, float]) -> list[tuple]:
        return [(c.ids, c.log_probs) for c in sampler.sample(prompts, settings)]

    monkeypatch.setattr(batch_rollout, "sample_in_parts", sample)
    return BatchRollout.create(config=config, llm_client=None)


def rows() -> list[dict]:
    return [
        row | {"uid": f"uid-{i}", "raw_prompt": row["prompt"]}
        for i, row in enumerate(grpo_rows(tiny_problems(PROMPTS), PROMPTS))
    ]


def test_each_prompt_has_its_completions_with_their_rewards(
    base: Path, rollout: BatchRollout
) -> None:
    tokenizer, fields = (
        AutoTokenizer.from_pretrained(base),
        rollout.complete(rows(), rollout.rollout),
    )
    uids = [field["uid"] for field in fields]
    assert sorted(uids) == sorted([f"uid-{i}" for i in range(PROMPTS)] * N)
    prompts = {
        row["uid"]: tokenizer.apply_chat_template(
            row["prompt"], add_generation_prompt=True, return_dict=False
        )
        for row in rows()
    }
    rewards = set()
    for field in fields:
        prompt, answer = field["prompts"].tolist(), field["responses"].tolist()
        assert prompt == prompts[field["uid"]]
        assert field["input_ids"].tolist() == prompt + answer
        assert field["position_ids"].tolist() == [*range(len(prompt + answer))]
        assert field["response_mask"].tolist() == field["loss_mask"].tolist() == [1] * len(answer)
        assert len(field["rollout_log_probs"]) == len(answer) <= LENGTH
        *before, last = field["rm_scores"].tolist()
        assert not any(before)
        text, gold = tokenizer.decode(answer), field["reward_model"]["ground_truth"]
        assert last == is_correct(text, gold)
        rewards.add(last)
    assert rewards == {0.0, 1.0}


def test_completions_are_ordered_by_their_tokens(rollout: BatchRollout) -> None:
    """Whatever the order of the prompts: equal completions give equal updates."""
    settings = OmegaConf.merge(rollout.rollout, {"temperature": 0})
    found = [rollout.complete(given, settings) for given in (rows(), rows()[::-1])]
    tokens = [[field["input_ids"].tolist() for field in fields] for fields in found]
    assert tokens[0] == tokens[1] == sorted(tokens[0])


def test_tags_give_lengths_and_the_step_of_the_weights() -> None:
    fields = {"prompts": torch.arange(5), "responses": torch.arange(3)}
    tag = completion_tag(fields, 7)
    assert (tag["prompt_len"], tag["response_len"], tag["seq_len"]) == (5, 3, 8)
    assert (tag["global_steps"], tag["min_global_steps"], tag["max_global_steps"]) == (7, 6, 6)
