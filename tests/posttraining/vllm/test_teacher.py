"""The teacher's vLLM backend through the real engine, on a CPU."""

from pathlib import Path

import pytest

from crosslens.data.teacher import Answer, Sampler, sampler

MESSAGES = ["what is 3 plus 4 ?", "what is 19 plus 2 ?", "what is 0 plus 0 ?"]
TOKENS = 12


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
