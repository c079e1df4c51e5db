"""verl reads the same tokens as the rest of the study, and trains on the counted prompts."""

from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf
from tiny_models import CONFIGS, add_extra_token, tiny_model, tiny_problems
from tokenizers import Tokenizer
from verl.utils import hf_tokenizer
from verl.utils.dataset.rl_dataset import RLHFDataset

from crosslens.data.traces import grpo_rows
from crosslens.io.errors import InputError
from crosslens.posttraining.grpo.prompts import (
    copy_tokenizer,
    count_prompts,
    fitting_prompts,
    prompt_lengths,
)


def parquet(path: Path) -> Path:
    """Twelve problems, every third of which is longer."""
    problems = tiny_problems(12)
    for problem in problems[::3]:
        problem["problem"] = "what is 1 plus 1 ? so , " + problem["problem"]
    pd.DataFrame(grpo_rows(problems, 1)).to_parquet(path)
    return path


@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.parametrize("longest", [10, 22, 60])
def test_fitting_prompts_are_those_that_verl_keeps(
    tmp_path: Path, architecture: str, longest: int
) -> None:
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
def test_verl_tokenizes_like_tokenizer_json(tmp_path: Path, architecture: str) -> None:
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


def test_a_list_of_extra_special_tokens_is_read(tmp_path: Path) -> None:
    """Transformers 4 ended in an ImportError about protobuf."""
    model = add_extra_token(tiny_model(tmp_path / "model"), "<extra>")
    tokenizer = copy_tokenizer(model, tmp_path / "tokenizer")
    texts = ("what is 1 plus 2 ?", "<extra> what is 1 plus 2 ?")
    prompts = [[{"role": "user", "content": text}] for text in texts]
    plain, longer = prompt_lengths(prompts, tokenizer)
    assert longer == plain + 1
    read = hf_tokenizer(str(tokenizer))
    (extra,) = read.encode("<extra>", add_special_tokens=False)
    assert read(texts[1])["input_ids"] == [extra, *read(texts[0])["input_ids"]]


def test_tokenizer_that_transformers_replaces_is_refused(tmp_path: Path) -> None:
    """transformers replaces it when the configuration next to it says Qwen2."""
    model = tiny_model(tmp_path / "model", architecture="qwen2")
    with pytest.raises(InputError, match="the training backend tokenizes prompts differently"):
        fitting_prompts(parquet(tmp_path / "grpo.parquet"), model, 22)


def test_dropped_prompts_are_reported(tmp_path: Path, capsys) -> None:
    model = tiny_model(tmp_path / "model")
    fitting_prompts(parquet(tmp_path / "grpo.parquet"), model, 22)
    message = "4 of 12 prompts are longer than grpo.max_prompt_length: 22 and are dropped"
    assert message in capsys.readouterr().out


def test_counts_of_an_epoch(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    prompts = pd.read_parquet(parquet(tmp_path / "grpo.parquet"))["prompt"]
    lengths = prompt_lengths(prompts, model)
    longest = max(lengths)
    assert [length > 22 for length in lengths] == [True, False, False] * 4
    assert count_prompts(lengths, longest, 2) == {
        "prompts": 12,
        "fit": 12,
        "longest": longest,
        "steps": 6,
    }
    assert count_prompts(lengths, 22, 1) == {
        "prompts": 12,
        "fit": 8,
        "longest": longest,
        "steps": 8,
    }
    message = (
        f"grpo.max_prompt_length: 8 of 12 prompts have at most 22 tokens .the longest has {longest}"
    )
    with pytest.raises(
        InputError, match=f"^{message}., but 5 checkpoints of grpo.batch_size: 2 need"
    ):
        count_prompts(lengths, 22, 2)
    with pytest.raises(InputError, match="^grpo.batch_size: 8 problems give 2 steps of 3 prompts"):
        count_prompts(lengths, 22, 3)  # all twelve would be too few
