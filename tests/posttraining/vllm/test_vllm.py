"""The teacher's vLLM backend through the real engine, on a CPU."""

from pathlib import Path

import pytest
import torch
from tiny_models import tiny_traces
from transformers import AutoModelForCausalLM, LlamaConfig

from crosslens.data.teacher import Answer, Sampler, sampler
from crosslens.synthetic.tokenizer import build_tokenizer

MESSAGES = ["what is 3 plus 4 ?", "what is 19 plus 2 ?", "what is 0 plus 0 ?"]
TOKENS = 12


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Save a random model. vLLM's attention on a CPU needs heads of 64, more than other tests."""
    path = tmp_path_factory.mktemp("teacher") / "model"
    texts = [f"{row['problem']} {row['response']}" for row in tiny_traces(100)] + MESSAGES
    tokenizer = build_tokenizer(texts, max_length=128)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.2,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def vllm(model: Path) -> Sampler:
    """Return the engine in this process, greedy."""
    patch = pytest.MonkeyPatch()
    patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    patch.setenv("HF_HUB_OFFLINE", "1")
    engine = {"max_model_len": 128, "enforce_eager": True, "dtype": "float32"}
    return sampler(model, backend="vllm", temperature=0.0, max_new_tokens=TOKENS, engine=engine)


def test_greedy_answers_are_those_of_transformers(model: Path, vllm: Sampler) -> None:
    other = sampler(model, backend="transformers", temperature=0.0, max_new_tokens=TOKENS)
    ours = vllm(MESSAGES, 0)
    assert ours == other(MESSAGES, 0)
    assert all(isinstance(answer, Answer) and answer.tokens for answer in ours)
    assert all(answer.ended or answer.tokens == TOKENS for answer in ours)
