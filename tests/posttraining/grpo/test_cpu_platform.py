"""verl's CPU platform: completions are sampled together, with the trainer's weights."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_models import CONFIGS, tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from crosslens.posttraining.grpo.batch_sampler import BatchSampler
from crosslens.posttraining.grpo.verl import backend_environment

LENGTH, MOST = 12, 1000  # tokens of a completion, completions of a batch
SETTINGS = {"temperature": 0.7, "top_p": 1, "top_k": -1}


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


def new_sampler(base: Path, *, seed: int = 0, most: int = MOST) -> BatchSampler:
    return BatchSampler(str(base), seed=seed, max_new_tokens=LENGTH, most=most)


@pytest.fixture
def sampler(base: Path) -> BatchSampler:
    return new_sampler(base)


def prompts(base: Path, count: int) -> list[list[int]]:
    """Return questions of different lengths, as token ids."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    texts = ["what is 1 plus 2 " * (1 + i % 3) + "?" for i in range(count)]
    return [tokenizer(text)["input_ids"] for text in texts]


def rows_of_passes(sampler: BatchSampler) -> list[int]:
    """Return a list that receives the batch size of each forward pass."""
    sizes: list[int] = []
    sampler.model.register_forward_hook(
        lambda _, __, output: sizes.append(len(output.logits)), always_call=True
    )
    return sizes


def test_completions_are_sampled_together(base: Path, sampler: BatchSampler) -> None:
    sizes = rows_of_passes(sampler)
    completions = sampler.sample(prompts(base, 24), SETTINGS)
    assert sizes[0] == 3  # equal prompts are read once
    assert sizes[1] == 24
    assert len(sizes) <= LENGTH
    assert len(completions) == 24 and all(1 <= len(c.ids) <= LENGTH for c in completions)


def test_no_more_rows_than_allowed_are_sampled_at_a_time(base: Path) -> None:
    sampler = new_sampler(base, most=4)
    sizes = rows_of_passes(sampler)
    assert len(sampler.sample(prompts(base, 10), SETTINGS)) == 10
    assert max(sizes) == 4 and sizes.count(4) >= 2 and 2 in sizes


def test_log_probabilities_equal_the_trainers_model(
    base: Path, sampler: BatchSampler, trained: torch.nn.Module
) -> None:
    sampler.load_weights(trained.state_dict(), 3)
    requests = prompts(base, 6)
    for ids, completion in zip(requests, sampler.sample(requests, SETTINGS), strict=True):
        with torch.no_grad():
            logits = trained(torch.tensor([ids + completion.ids])).logits[0, len(ids) - 1 : -1]
        expected = torch.log_softmax(logits / 0.7, -1)
        chosen = expected[torch.arange(len(completion.ids)), completion.ids]
        assert completion.log_probs == pytest.approx(chosen.tolist(), abs=1e-5)


def test_completion_ends_at_a_stop_token_or_the_maximum_length(
    base: Path, sampler: BatchSampler
) -> None:
    end = AutoTokenizer.from_pretrained(base).eos_token_id
    assert sampler.stop_ids == [end]
    answers = [completion.ids for completion in sampler.sample(prompts(base, 64), SETTINGS)]
    assert all(end not in ids[:-1] for ids in answers)
    assert all(ids[-1] == end or len(ids) == LENGTH for ids in answers)
    assert {ids[-1] == end for ids in answers} == {True, False}


def test_samples_depend_on_the_seed(base: Path, sampler: BatchSampler) -> None:
    requests = prompts(base, 4)
    first = sampler.sample(requests, SETTINGS)
    assert new_sampler(base, seed=0).sample(requests, SETTINGS) == first
    assert new_sampler(base, seed=1).sample(requests, SETTINGS) != first
    assert sampler.sample(requests, SETTINGS) != first


def test_samples_of_a_step_do_not_depend_on_earlier_steps(
    base: Path, sampler: BatchSampler, trained: torch.nn.Module
) -> None:
    """A run resumed after step 3 samples in step 4 what it would have sampled."""
    requests, fresh = prompts(base, 4), new_sampler(base)
    sampler.sample(requests, SETTINGS)
    for one in (sampler, fresh):
        one.load_weights(trained.state_dict(), 3)
    third = sampler.sample(requests, SETTINGS)
    assert fresh.sample(requests, SETTINGS) == third
    sampler.load_weights(trained.state_dict(), 4)
    assert [c.ids for c in sampler.sample(requests, SETTINGS)] != [c.ids for c in third]


def test_only_tied_weights_may_be_missing(
    base: Path, sampler: BatchSampler, trained: torch.nn.Module
) -> None:
    weights = trained.state_dict()
    del weights["lm_head.weight"]
    sampler.load_weights(weights, 1)
    for name, weight in sampler.model.state_dict().items():
        assert weight.equal(trained.state_dict()[name]), name
    lost = weights.pop("model.layers.1.mlp.up_proj.weight")
    with pytest.raises(ValueError, match="differ in the tensor model.layers.1.mlp.up_proj.weight"):
        sampler.load_weights(weights, 2)
    weights |= {"model.layers.1.mlp.up_proj.weight": lost, "stranger": lost}
    with pytest.raises(ValueError, match="differ in the tensor stranger"):
        sampler.load_weights(weights, 2)


def test_unsupported_settings_are_refused(base: Path, sampler: BatchSampler) -> None:
    with pytest.raises(ValueError, match="does not support top_p"):
        sampler.sample(prompts(base, 1), SETTINGS | {"top_p": 0.9})


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
    assert done.stdout.split() == ["gloo", "cpu", "CPURollout", "CPUReplica"]
