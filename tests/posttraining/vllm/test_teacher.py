"""The teacher's vLLM backend through the real engine, on a CPU."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from crosslens.data.teacher import Answer, Sampler, sampler
from crosslens.models.tokenizer import load_tokenizer
from crosslens.synthetic.tokenizer import EOS

MESSAGES = ["what is 3 plus 4 ?", "what is 19 plus 2 ?", "what is 0 plus 0 ?"]
TOKENS = 12


@pytest.fixture(autouse=True, scope="module")
def one_process() -> Iterator[None]:
    """Let engines run in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


def engine_of(model: Path) -> Sampler:
    """Return the engine, greedy."""
    engine = {"max_model_len": 128, "enforce_eager": True, "dtype": "float32"}
    return sampler(model, backend="vllm", temperature=0.0, max_new_tokens=TOKENS, engine=engine)


def test_greedy_answers_are_those_of_transformers(model: Path) -> None:
    vllm = engine_of(model)
    other = sampler(model, backend="transformers", temperature=0.0, max_new_tokens=TOKENS)
    ours = vllm(MESSAGES, 0)
    assert ours == other(MESSAGES, 0)
    assert all(isinstance(answer, Answer) and answer.tokens for answer in ours)
    assert all(answer.ended or answer.tokens == TOKENS for answer in ours)


def test_the_templates_end_of_turn_ends_an_answer(model: Path, tmp_path: Path) -> None:
    """The model's files declare another end, as those of Qwen's bases do."""
    other = sampler(model, backend="transformers", temperature=0.0, max_new_tokens=TOKENS)
    (whole,) = other(MESSAGES[:1], 0)
    word = whole.text.split()[3]
    path = Path(shutil.copytree(model, tmp_path / "model"))
    tokenizer = load_tokenizer(path)
    tokenizer.add_special_tokens({"additional_special_tokens": [word]})
    tokenizer.chat_template = tokenizer.chat_template.replace(EOS, word)
    tokenizer.save_pretrained(path)
    (answer,) = engine_of(path)(MESSAGES[:1], 0)
    assert answer.ended and answer.tokens < whole.tokens
    (same,) = sampler(path, backend="transformers", temperature=0.0, max_new_tokens=TOKENS)(
        MESSAGES[:1], 0
    )
    assert answer == same
