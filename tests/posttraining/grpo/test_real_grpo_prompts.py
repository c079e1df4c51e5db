"""verl's prompts of real problems with the three families' real tokenizers, and what ends them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from real_material import FAMILIES, real, written_prompt
from verl.experimental.agent_loop.agent_loop import DictConfigWrap
from verl.utils import hf_tokenizer
from verl.utils.tokenizer.continuous_token_wiring import create_continuous_token_builder
from verl.workers.rollout.replica import TokenOutput

from crosslens.data.conversations import prompt_ids
from crosslens.data.grading import user_message
from crosslens.data.traces import grpo_rows
from crosslens.io.records import read_jsonl
from crosslens.models.tokenizer import load_tokenizer
from crosslens.posttraining.grpo.agent_loop import SingleTurn
from crosslens.posttraining.grpo.prompts import copy_tokenizer, prompt_lengths


@pytest.mark.parametrize("family", FAMILIES)
def test_real_prompts_are_those_of_traces_and_evaluation(family: str, tmp_path: Path) -> None:
    """Token by token, as verl's agent loop builds them; and counted as long as they are."""
    tokenizer = copy_tokenizer(real(f"tokenizers/{family}"), tmp_path / "tokenizer")
    rows = read_jsonl(real("problems/math_train.jsonl"))[:20]
    prompts = [row["prompt"] for row in grpo_rows([row | {"source": "math"} for row in rows], 1)]
    builder = create_continuous_token_builder(hf_tokenizer(str(tokenizer)))
    ours, found = load_tokenizer(tokenizer), []
    for row, prompt in zip(rows, prompts, strict=True):
        found.append(list(builder.build_initial_tokens(prompt)))
        message = user_message(row["problem"])
        written = ours.encode(written_prompt(family, message), add_special_tokens=False)
        assert found[-1] == prompt_ids(ours, message) == written
    assert prompt_lengths(prompts, tokenizer) == list(map(len, found))
    assert hf_tokenizer(str(tokenizer)).eos_token == FAMILIES[family].text_end


class Server:
    """In place of verl's vLLM server, which needs a GPU: answers at once, and keeps the request."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    async def generate(self, **request: Any) -> TokenOutput:
        self.asked = request
        return TokenOutput(token_ids=[1, 2], log_probs=None, routed_experts=None)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_end_of_a_turn_ends_a_completion(family: str, tmp_path: Path) -> None:
    """As in evaluation: vLLM by itself would go on to the end of a document."""
    tokenizer = hf_tokenizer(
        str(copy_tokenizer(real(f"tokenizers/{family}"), tmp_path / "tokenizer"))
    )
    rollout = {"prompt_length": 64, "response_length": 64}
    config = OmegaConf.create({"actor_rollout_ref": {"rollout": rollout}})
    server = Server()

    async def sampled() -> None:
        given = {"processor": None, "dataset_cls": None, "data_config": DictConfigWrap(config)}
        agent = SingleTurn(DictConfigWrap(config), server, tokenizer, **given)
        await agent.run({"temperature": 1.0}, raw_prompt=[{"role": "user", "content": "1 + 1?"}])

    asyncio.run(sampled())
    end = tokenizer.convert_tokens_to_ids(FAMILIES[family].turn_end)
    assert server.asked["sampling_params"] == {"temperature": 1.0, "stop_token_ids": [end]}
