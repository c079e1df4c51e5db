"""verl reads the tokens that the rest of the study reads, and trains on the prompts counted."""

from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf
from tiny_models import CONFIGS, tiny_model, tiny_problems
from tokenizers import Tokenizer
from verl.utils import hf_tokenizer
from verl.utils.dataset.rl_dataset import RLHFDataset

from crosslens.data.traces import grpo_rows
from crosslens.io.errors import InputError
from crosslens.posttraining.grpo.prompts import copy_tokenizer, counts, fitting_prompts, lengths


def parquet(path: Path) -> Path:
    """Twelve problems, every third of which is longer."""
    problems = tiny_problems(12)
    for problem in problems[::3]:
        problem["problem"] = "what is 1 plus 1 ? so , " + problem["problem"]
    pd.DataFrame(grpo_rows(problems, 1)).to_parquet(path)
    return path


@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.parametrize("longest", [10, 22, 60])
def test_as_many_as_verl_keeps(tmp_path: Path, architecture: str, longest: int) -> None:
    model = tiny_model(tmp_path / "model", architecture=architecture)
    data = parquet(tmp_path / "grpo.parquet")
    tokenizer = copy_tokenizer(model, tmp_path / "tokenizer")
    kept = fitting_prompts(data, tokenizer, longest)
    settings = {
        "max_prompt_length": longest,
        "filter_overlong_prompts": True,
        "filter_overlong_prompts_workers": 1,
        "cache_dir": str(tmp_path / "cache"),
    }
    read = hf_tokenizer(str(tokenizer))
    theirs = RLHFDataset([str(data)], read, OmegaConf.create(settings))
    assert [row["index"] for row in kept["extra_info"]] == [
        row["index"] for row in theirs.dataframe["extra_info"]
    ]
    assert len(kept) == {10: 0, 22: 8, 60: 12}[longest]


@pytest.mark.parametrize("architecture", CONFIGS)
def test_verl_reads_what_tokenizer_json_says(tmp_path: Path, architecture: str) -> None:
    model = tiny_model(tmp_path / "model", architecture=architecture)
    text = "what is 1 plus 2 ?"
    ids = Tokenizer.from_file(str(model / "tokenizer.json")).encode(text).ids
    read = hf_tokenizer(str(copy_tokenizer(model, tmp_path / "tokenizer")))
    assert read(text)["input_ids"] == ids
    assert (
        read.apply_chat_template(
            [{"role": "user", "content": "what is 1 plus 2 ?"}],
            add_generation_prompt=True,
            return_dict=False,
        )
        == ids
    )
    assert (read.eos_token, read.pad_token) == ("<|endoftext|>", "<|pad|>")


def test_a_tokenizer_that_transformers_replaces_is_refused(tmp_path: Path) -> None:
    """As it does beside the configuration of a Qwen2 model."""
    model = tiny_model(tmp_path / "model", architecture="qwen2")
    with pytest.raises(InputError, match="splits words otherwise than this file says"):
        fitting_prompts(parquet(tmp_path / "grpo.parquet"), model, 22)


def test_what_is_left_out_is_said(tmp_path: Path, capsys) -> None:
    model = tiny_model(tmp_path / "model")
    fitting_prompts(parquet(tmp_path / "grpo.parquet"), model, 22)
    said = "4 of 12 prompts are longer than grpo.max_prompt_length: 22 and left out"
    assert said in capsys.readouterr().out


def test_what_an_epoch_has(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    prompts = pd.read_parquet(parquet(tmp_path / "grpo.parquet"))["prompt"]
    found = lengths(prompts, model)
    longest = max(found)
    assert [length > 22 for length in found] == [True, False, False] * 4
    assert counts(found, longest, 2) == {"prompts": 12, "fit": 12, "longest": longest, "steps": 6}
    assert counts(found, 22, 1) == {"prompts": 12, "fit": 8, "longest": longest, "steps": 8}
    said = (
        f"grpo.max_prompt_length: 8 of 12 prompts have at most 22 tokens, the longest has {longest}"
    )
    with pytest.raises(InputError, match=f"^{said}; 5 checkpoints need 10 prompts, a grpo.batch"):
        counts(found, 22, 2)
    with pytest.raises(InputError, match="^grpo.batch_size: 8 problems give 2 steps of 3 prompts"):
        counts(found, 22, 3)  # all twelve would be too few
