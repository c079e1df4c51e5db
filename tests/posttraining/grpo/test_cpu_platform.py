"""verl's CPU platform: requests are sampled together, with the trainer's weights, and rightly."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_models import CONFIGS, tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from crosslens.posttraining.grpo import cpu_platform
from crosslens.posttraining.grpo.cpu_platform import RolloutServer
from crosslens.posttraining.grpo.verl import backend_environment

LENGTH, MOST = 12, 1000  # tokens, requests of one batch
SETTINGS = {"temperature": 0.7, "top_p": 1, "top_k": -1, "repetition_penalty": 1.0}


@pytest.fixture(scope="module", params=CONFIGS)
def base(request, tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp(request.param), architecture=request.param)


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory) -> torch.nn.Module:
    """Return other weights of the same shapes, as the trainer has after an update."""
    architecture = AutoModelForCausalLM.from_pretrained(base).config.model_type
    path = tmp_path_factory.mktemp("trained")
    model = AutoModelForCausalLM.from_pretrained(
        tiny_model(path, seed=1, architecture=architecture), attn_implementation="sdpa"
    )
    return model.eval()


@pytest.fixture(autouse=True)
def pause(monkeypatch) -> None:
    """Shorten the wait for further requests."""
    monkeypatch.setattr(cpu_platform, "QUIET_SECONDS", 0.02)


def new_server(base: Path, *, seed: int = 0, most: int = MOST) -> RolloutServer:
    config = SimpleNamespace(response_length=LENGTH, max_num_seqs=most)
    return RolloutServer(str(base), config, seed=seed)


@pytest.fixture
def server(base: Path) -> RolloutServer:
    return new_server(base)


def prompts(base: Path, count: int) -> list[list[int]]:
    """Return questions of different lengths, as token ids."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    texts = ["what is 1 plus 2 " * (1 + i % 3) + "?" for i in range(count)]
    return [tokenizer(text)["input_ids"] for text in texts]


def rows_of_passes(server: RolloutServer) -> list[int]:
    """Return a list that receives the batch size of each forward pass."""
    sizes: list[int] = []
    server.model.register_forward_hook(
        lambda _, __, output: sizes.append(len(output.logits)), always_call=True
    )
    return sizes


def generated(server: RolloutServer, requests: list[list[int]], **changes) -> list:
    """Send all requests at once, and return completions or errors."""

    async def ask() -> list:
        return await asyncio.gather(
            *(
                server.generate(ids, SETTINGS | {"logprobs": True} | changes, f"request-{i}")
                for i, ids in enumerate(requests)
            ),
            return_exceptions=True,
        )

    return asyncio.run(ask())


def test_simultaneous_requests_are_one_batch(base: Path, server: RolloutServer) -> None:
    sizes = rows_of_passes(server)
    answers = generated(server, prompts(base, 24))
    assert sizes[0] == 3  # equal prompts are read once
    assert sizes[1] == 24
    assert len(sizes) <= LENGTH
    assert len(answers) == 24 and all(1 <= len(a.token_ids) <= LENGTH for a in answers)


def test_requests_during_sampling_are_the_next_batch(base: Path, server: RolloutServer) -> None:
    sizes = rows_of_passes(server)
    waves = prompts(base, 5)

    async def ask() -> list:
        first = [asyncio.create_task(server.generate(ids, SETTINGS, "")) for ids in waves[:3]]
        while not sizes:
            await asyncio.sleep(0.001)
        return await asyncio.gather(*first, *(server.generate(i, SETTINGS, "") for i in waves[3:]))

    assert len(asyncio.run(ask())) == 5
    assert sizes[0] == 3 and 2 in sizes


def test_log_probabilities_equal_the_trainers_model(
    base: Path, server: RolloutServer, trained: torch.nn.Module
) -> None:
    asyncio.run(server.load_weights(trained.state_dict(), 3))
    requests = prompts(base, 6)
    for ids, answer in zip(requests, generated(server, requests), strict=True):
        with torch.no_grad():
            logits = trained(torch.tensor([ids + answer.token_ids])).logits[0, len(ids) - 1 : -1]
        expected = torch.log_softmax(logits / 0.7, -1)
        chosen = expected[torch.arange(len(answer.token_ids)), answer.token_ids]
        assert answer.log_probs == pytest.approx(chosen.tolist(), abs=1e-5)
        assert answer.extra_fields["global_steps"] == 3


def test_completion_ends_at_a_stop_token_or_the_maximum_length(
    base: Path, server: RolloutServer
) -> None:
    end = AutoTokenizer.from_pretrained(base).eos_token_id
    assert server.stop_ids == [end]
    answers = [answer.token_ids for answer in generated(server, prompts(base, 64))]
    assert all(end not in ids[:-1] for ids in answers)
    assert all(ids[-1] == end or len(ids) == LENGTH for ids in answers)
    assert {ids[-1] == end for ids in answers} == {True, False}


def test_samples_depend_on_the_seed(base: Path, server: RolloutServer) -> None:
    requests = prompts(base, 4)
    first = generated(server, requests)
    assert generated(new_server(base, seed=0), requests) == first
    assert generated(new_server(base, seed=1), requests) != first
    assert generated(server, requests) != first


def test_samples_of_a_step_do_not_depend_on_earlier_steps(
    base: Path, server: RolloutServer, trained: torch.nn.Module
) -> None:
    """A run resumed after step 3 samples in step 4 what it would have sampled."""
    requests, fresh = prompts(base, 4), new_server(base)
    generated(server, requests)
    for one in (server, fresh):
        asyncio.run(one.load_weights(trained.state_dict(), 3))
    third = generated(server, requests)
    assert generated(fresh, requests) == third
    asyncio.run(server.load_weights(trained.state_dict(), 4))
    assert [a.token_ids for a in generated(server, requests)] != [a.token_ids for a in third]


def test_samples_do_not_depend_on_the_order_of_arrival(base: Path, server: RolloutServer) -> None:
    requests = prompts(base, 3)
    assert generated(new_server(base), requests[::-1]) == generated(server, requests)[::-1]


def test_full_batch_is_awaited_and_then_sampled_at_once(base: Path, monkeypatch) -> None:
    monkeypatch.setattr(cpu_platform, "QUIET_SECONDS", 60.0)
    server = new_server(base, most=4)
    sizes = rows_of_passes(server)

    async def ask() -> None:
        tasks = []
        for ids in prompts(base, 8):
            tasks.append(asyncio.create_task(server.generate(ids, SETTINGS, "")))
            await asyncio.sleep(0.05)
        await asyncio.wait_for(asyncio.gather(*tasks), 30)

    asyncio.run(ask())
    assert max(sizes) == 4 and sizes.count(4) >= 2


def test_log_probabilities_are_returned_on_request(base: Path, server: RolloutServer) -> None:
    assert generated(server, prompts(base, 1), logprobs=False)[0].log_probs is None


def test_only_tied_weights_may_be_missing(
    base: Path, server: RolloutServer, trained: torch.nn.Module
) -> None:
    weights = trained.state_dict()
    del weights["lm_head.weight"]
    asyncio.run(server.load_weights(weights, 1))
    for name, weight in server.model.state_dict().items():
        assert weight.equal(trained.state_dict()[name]), name
    lost = weights.pop("model.layers.1.mlp.up_proj.weight")
    with pytest.raises(ValueError, match="differ in the tensor model.layers.1.mlp.up_proj.weight"):
        asyncio.run(server.load_weights(weights, 2))
    weights |= {"model.layers.1.mlp.up_proj.weight": lost, "stranger": lost}
    with pytest.raises(ValueError, match="differ in the tensor stranger"):
        asyncio.run(server.load_weights(weights, 2))


def test_failure_reaches_every_request_and_the_server_continues(
    base: Path, server: RolloutServer
) -> None:
    requests = prompts(base, 3)
    errors = generated(server, requests, top_p=0.9)
    assert [type(error) for error in errors] == [ValueError] * 3
    assert "does not support top_p" in str(errors[0])
    assert len(generated(server, requests)[2].token_ids) > 0


def test_requests_with_different_settings_are_refused(base: Path, server: RolloutServer) -> None:
    ids = prompts(base, 1)[0]

    async def ask() -> None:
        await asyncio.gather(
            server.generate(ids, SETTINGS, ""),
            server.generate(ids, SETTINGS | {"temperature": 0.0}, ""),
        )

    with pytest.raises(ValueError, match="equal sampling settings"):
        asyncio.run(ask())


def test_verl_finds_the_platform_and_the_rollout() -> None:
    """Run in another process, as verl selects the platform at import."""
    program = """
import torch
from verl.plugin.platform import get_platform
from verl.utils.device import get_device_name
from verl.workers.rollout.base import get_rollout_class
from verl.workers.rollout.replica import get_rollout_replica_class
print(get_platform().communication_backend_name(), get_device_name())
print(get_rollout_class("crosslens_cpu", "async").__name__)
print(get_rollout_replica_class("crosslens_cpu").__name__)
torch.cpu.set_rng_state(torch.cpu.get_rng_state())
"""
    variables = {**os.environ, **backend_environment("cpu")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={name: value for name, value in variables.items() if value is not None},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["gloo", "cpu", "ServerAdapter", "CPUReplica"]
