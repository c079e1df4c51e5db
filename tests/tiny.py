"""A random model of a few thousand parameters with a word-level chat tokenizer, for tests."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

from crosslens.data.grading import user_message
from crosslens.models.tokenizer import load_tokenizer
from crosslens.synthetic.tokenizer import build_tokenizer

CONFIGS = {"qwen3": Qwen3Config, "qwen2": Qwen2Config, "llama": LlamaConfig}
NUMBERS = range(20)
WORDS = ["what is plus the answer \\boxed{ } so , ?", *map(str, NUMBERS), user_message("")]


def tiny_model(
    path: Path, *, seed: int = 0, hidden_size: int = 16, architecture: str = "qwen3"
) -> Path:
    """Save a two-layer model with random weights, and its tokenizer, to `path`."""
    tokenizer = build_tokenizer(WORDS, max_length=128)
    torch.manual_seed(seed)
    config = CONFIGS[architecture](
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def tiny_problems(count: int) -> list[dict]:
    """Sums of two numbers below ten, different ones while they last."""
    pairs = [(a, b) for a in range(10) for b in range(10)]
    return [
        {"problem": f"what is {a} plus {b} ?", "answer": str(a + b), "source": "tiny"}
        for a, b in (pairs[i % len(pairs)] for i in range(count))
    ]


def tiny_traces(count: int) -> list[dict]:
    """Right solutions of `tiny_problems`, as `generate_traces` writes them."""
    return [
        {
            **problem,
            "response": f"so , the answer is \\boxed{{ {problem['answer']} }}",
            "tokens": 8,
            "ended": True,
        }
        for problem in tiny_problems(count)
    ]


def tiny_solver(path: Path, *, architecture: str = "qwen3", steps: int = 80) -> Path:
    """A tiny model that puts a number into a box, the right one now and then."""
    tiny_model(path, architecture=architecture)
    tokenizer, model = (
        load_tokenizer(path),
        AutoModelForCausalLM.from_pretrained(path),
    )
    texts = [
        f"{user_message(problem['problem'])}\\boxed{{ {number} }}{tokenizer.eos_token}"
        for problem, number in zip(tiny_problems(200), [*range(10)] * 20, strict=True)
    ]
    ids = torch.tensor(tokenizer(texts)["input_ids"])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        batch = ids[(step * 32 + torch.arange(32)) % len(ids)]
        model(batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(path)
    return path
