"""Random models of a few thousand parameters, their tokenizers and training data, for tests."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from crosslens.data.grading import user_message
from crosslens.models.tokenizer import load_tokenizer
from crosslens.synthetic.tokenizer import END, build_tokenizer

CONFIGS = {"qwen3": Qwen3Config, "qwen2": Qwen2Config, "llama": LlamaConfig}  # trained here too
NETWORKS = CONFIGS | {
    "mistral": MistralConfig,
    "gemma2": Gemma2Config,
    "gemma3": Gemma3TextConfig,
    "olmo2": Olmo2Config,
    "phi3": Phi3Config,
    "gpt_neox": GPTNeoXConfig,
    "gpt2": GPT2Config,
}
# Attention with a window or a cap, at sizes where a short text shows it.
WINDOW = {"sliding_window": 4}
PECULIAR = {
    "mistral": WINDOW,
    "phi3": WINDOW,
    "gemma2": WINDOW | {"attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 8},
    "gemma3": WINDOW | {"query_pre_attn_scalar": 8},
}

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PAD, EOS, BOS = 0, 1, 2
FIRST = 3  # id of "a"
SPECIAL = {"<pad>": PAD, "<eos>": EOS, "<bos>": BOS}
VOCABULARY = SPECIAL | {letter: FIRST + i for i, letter in enumerate(LETTERS)}
TEMPLATE = (
    "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    "{% if not add_generation_prompt %}<eos>{% endif %}"
)

NUMBERS = range(20)
WORDS = ["what is plus the answer \\boxed{ } so , ?", *map(str, NUMBERS), user_message("")]


def letter_tokenizer(*, bos: bool = False) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose words are single letters; its chat template ends in eos."""
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"bos_token": "<bos>"} if bos else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        chat_template=TEMPLATE,
        **special,
    )


def tiny_network(
    architecture: str = "qwen3",
    *,
    seed: int = 0,
    layers: int = 3,
    vocab_size: int = len(VOCABULARY),
    hidden_size: int = 16,
    initializer_range: float = 0.2,
    **config: Any,
) -> PreTrainedModel:
    """Return a model with random weights, by default over the letters and of d_model 16."""
    torch.manual_seed(seed)
    sizes = NETWORKS[architecture](
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=128,
        initializer_range=initializer_range,
        **config,
    )
    return AutoModelForCausalLM.from_config(sizes).eval()


def tiny_model(
    path: Path, *, seed: int = 0, hidden_size: int = 16, architecture: str = "qwen3"
) -> Path:
    """Save a two-layer model with random weights, and its word-level chat tokenizer, to `path`."""
    tokenizer = build_tokenizer(WORDS, max_length=128)
    network = tiny_network(
        architecture,
        seed=seed,
        layers=2,
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        initializer_range=0.02,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    network.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def tiny_problems(count: int) -> list[dict]:
    """Return sums of two numbers below ten, distinct up to 100 of them."""
    pairs = [(a, b) for a in range(10) for b in range(10)]
    return [
        {"problem": f"what is {a} plus {b} ?", "answer": str(a + b), "source": "tiny"}
        for a, b in (pairs[i % len(pairs)] for i in range(count))
    ]


def tiny_traces(count: int) -> list[dict]:
    """Return correct solutions of `tiny_problems` in the format of `generate_traces`."""
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
    """Save a tiny model trained to put a number into a box, sometimes the correct one."""
    tiny_model(path, architecture=architecture)
    tokenizer = load_tokenizer(path)
    model = AutoModelForCausalLM.from_pretrained(path)
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


def declare_another_end(path: Path) -> Path:
    """Let a model's files declare an end that its chat template does not use, as Qwen's bases do.

    Nothing that the model has learned changes: it ends an answer as the template does.
    """
    (end,) = load_tokenizer(path).convert_tokens_to_ids([END])
    changes = {"eos_token_id": end, "eos_token": END}
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        content = json.loads((path / name).read_text())
        known = {key: value for key, value in changes.items() if key in content}
        (path / name).write_text(json.dumps(content | known))
    return path


def add_extra_token(path: Path, token: str) -> Path:
    """Add a special token to a model's tokenizer, in a list, as transformers 5 writes it."""
    tokenizer = load_tokenizer(path)
    tokenizer.add_special_tokens({"extra_special_tokens": [token]})
    tokenizer.save_pretrained(path)
    stated = json.loads((path / "tokenizer_config.json").read_text())["extra_special_tokens"]
    assert stated == [token]
    return path
