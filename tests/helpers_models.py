"""Random models of three architectures, a word-level tokenizer, and small corpora, for tests."""

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.models.llama import LlamaConfig
from transformers.models.qwen2 import Qwen2Config
from transformers.models.qwen3 import Qwen3Config

from crosslens.activations.shard_writer import Origin, Rows, write_shard

CONFIGS = {"qwen3": Qwen3Config, "qwen2": Qwen2Config, "llama": LlamaConfig}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PAD, EOS, BOS = 0, 1, 2
FIRST = 3  # id of "a"
VOCABULARY = {"<pad>": PAD, "<eos>": EOS, "<bos>": BOS} | {
    letter: FIRST + i for i, letter in enumerate(LETTERS)
}
TEMPLATE = "{% for m in messages %}{{ m['content'] }} {% endfor %}<eos>"


def letters(*, bos: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer whose words are single letters; its chat template ends in eos."""
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


def tiny_network(architecture: str = "qwen3", *, seed: int = 0, layers: int = 3):
    """A model with random weights and d_model 16."""
    torch.manual_seed(seed)
    config = CONFIGS[architecture](
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    return AutoModelForCausalLM.from_config(config).eval()


def write_text(path: Path, *texts: str) -> Path:
    """A JSON-lines file in RedPajama's column."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def random_texts(count: int, seed: int, length: int = 20) -> list[str]:
    """Texts of random letters."""
    chosen = np.random.default_rng(seed).choice(list(LETTERS), (count, length))
    return [" ".join(row) for row in chosen]


def make_shard(
    path: Path,
    activations: torch.Tensor,
    *,
    shard: str = "0",
    corpus_hash: str = "c",
    layer: int = 1,
    tokens: np.ndarray | None = None,
    mask: list[int] | None = None,
) -> Path:
    """Write given activations [rows, d_model] as a shard."""
    rows = len(activations)
    zeros = np.zeros(rows, dtype=np.uint32)
    kept = np.ones(rows, dtype=np.uint8) if mask is None else np.array(mask, dtype=np.uint8)
    norms = activations.norm(dim=1).numpy()[kept == 1]
    described = Rows(
        np.arange(rows, dtype=np.uint32) if tokens is None else tokens,
        zeros.astype(np.uint16),
        zeros + np.arange(rows, dtype=np.uint32) // 10,
        kept,
        float(norms.mean()),
    )
    with write_shard(path, *activations.shape, what="activations") as writer:
        writer.put(np.arange(rows, dtype=np.uint32), activations)
        writer.finish()
        writer.complete(described, Origin(path.parent.name, shard, layer, 0, "m", corpus_hash))
    return path
