"""Prepare a backend's input: an unchanged tokenizer, and the training prompts that fit."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from crosslens.config.study_design import N_CHECKPOINTS
from crosslens.io.atomic import remove
from crosslens.io.errors import InputError
from crosslens.models.tokenizer import require_chat_template
from crosslens.posttraining.checkpoint_schedule import steps_per_epoch

TOKENIZER_FILES = (
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template*"),
    *("vocab.*", "merges.txt"),
)


def copy_tokenizer(model: Path, out: Path) -> Path:
    """Copy a model's tokenizer to `out`, without the model's configuration.

    If the configuration says Qwen2, transformers 5 splits words like Qwen's own tokenizer and
    ignores tokenizer.json.
    """
    remove(out)
    out.mkdir(parents=True)
    for pattern in TOKENIZER_FILES:
        for file in model.glob(pattern):
            shutil.copy(file, out / file.name)
    return out


def fitting_prompts(data: Path, tokenizer: Path, longest: int) -> pd.DataFrame:
    """Return the rows of verl's parquet whose prompts have at most `longest` tokens.

    Tokens are counted in the chat template. verl drops longer prompts, and TRL would truncate them.
    Prints how many were dropped. Raises InputError when transformers tokenizes differently from the
    tokenizer's file.
    """
    table = pd.read_parquet(data)
    fits = [length <= longest for length in prompt_lengths(table["prompt"], tokenizer)]
    if not all(fits):
        dropped = f"{len(fits) - sum(fits)} of {len(fits)} prompts"
        print(f"grpo: {dropped} are longer than grpo.max_prompt_length: {longest} and are dropped")
    return table[fits]


def prompt_lengths(prompts: Iterable[Iterable[dict]], tokenizer: Path) -> list[int]:
    """Return the number of tokens of each prompt in the chat template.

    Raises InputError when there is no chat template, or when transformers tokenizes differently
    from the tokenizer's file.
    """
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(tokenizer)
    require_chat_template(loaded, tokenizer)
    texts = [
        loaded.apply_chat_template(list(turns), add_generation_prompt=True, tokenize=False)
        for turns in prompts
    ]
    ids = loaded(texts, add_special_tokens=False)["input_ids"]
    check_tokenizer(tokenizer / "tokenizer.json", texts[0], ids[0])
    return list(map(len, ids))


def count_prompts(lengths: list[int], longest: int, batch_size: int) -> dict[str, int]:
    """Count all prompts, those of at most `longest` tokens, and the steps of an epoch.

    Raises InputError when the prompts that fit give fewer steps than there are checkpoints.
    """
    fit, needed = sum(length <= longest for length in lengths), N_CHECKPOINTS * batch_size
    if fit < needed <= len(lengths):
        raise InputError(
            f"grpo.max_prompt_length: {fit} of {len(lengths)} prompts have at most {longest} "
            f"tokens (the longest has {max(lengths)}), but {N_CHECKPOINTS} checkpoints of "
            f"grpo.batch_size: {batch_size} need {needed} prompts. Raise grpo.max_prompt_length."
        )
    steps = steps_per_epoch(fit, batch_size)
    return {"prompts": len(lengths), "fit": fit, "longest": max(lengths), "steps": steps}


def check_tokenizer(file: Path, text: str, ids: list[int]) -> None:
    """Raise InputError unless the tokenizer's file, if it exists, gives `text` these `ids`."""
    from tokenizers import Tokenizer

    if file.is_file():
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        if tokenizer.encode(text, add_special_tokens=False).ids != ids:
            raise InputError(
                f"{file}: the training backend tokenizes prompts differently, so RL would train on "
                "tokens that the study does not read. Correct the base model's tokenizer files."
            )
