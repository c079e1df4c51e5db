"""What an engine reads: the tokenizer as it is, and how many of the training prompts fit."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from crosslens.config.study_design import N_CHECKPOINTS
from crosslens.io.atomic import remove
from crosslens.io.errors import InputError
from crosslens.posttraining.checkpoint_schedule import steps_of_epoch

TOKENIZER = (
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template*"),
    *("vocab.*", "merges.txt"),
)


def copy_tokenizer(model: Path, out: Path) -> Path:
    """Copy a model's tokenizer to `out`, without the model's configuration beside it.

    Where that says Qwen2, transformers 5 splits words as Qwen's own tokenizer does, whatever
    tokenizer.json says.
    """
    remove(out)
    out.mkdir(parents=True)
    for pattern in TOKENIZER:
        for file in model.glob(pattern):
            shutil.copy(file, out / file.name)
    return out


def fitting_prompts(data: Path, tokenizer: Path, longest: int) -> pd.DataFrame:
    """The rows of verl's parquet whose prompt has at most `longest` tokens in the chat template.

    verl drops the others, TRL would cut them; the steps of the epoch are those of the rows left.
    Says how many are not. Raises InputError when transformers reads the tokenizer in another way
    than its file says.
    """
    table = pd.read_parquet(data)
    fits = [length <= longest for length in lengths(table["prompt"], tokenizer)]
    if not all(fits):
        left = f"{len(fits) - sum(fits)} of {len(fits)} prompts"
        print(f"grpo: {left} are longer than grpo.max_prompt_length: {longest} and left out")
    return table[fits]


def lengths(prompts: Iterable[Iterable[dict]], tokenizer: Path) -> list[int]:
    """Tokens of each prompt in the chat template.

    Raises InputError when transformers reads the tokenizer in another way than its file says.
    """
    from transformers import AutoTokenizer

    read = AutoTokenizer.from_pretrained(tokenizer)
    texts = [
        read.apply_chat_template(list(turns), add_generation_prompt=True, tokenize=False)
        for turns in prompts
    ]
    ids = read(texts, add_special_tokens=False)["input_ids"]
    check_tokenizer(tokenizer / "tokenizer.json", texts[0], ids[0])
    return list(map(len, ids))


def counts(found: list[int], longest: int, batch_size: int) -> dict[str, int]:
    """How many prompts of these lengths an epoch has, and its steps.

    Raises InputError when those that fit make fewer steps than there are checkpoints.
    """
    fit, needed = sum(length <= longest for length in found), N_CHECKPOINTS * batch_size
    if fit < needed <= len(found):
        raise InputError(
            f"grpo.max_prompt_length: {fit} of {len(found)} prompts have at most {longest} tokens, "
            f"the longest has {max(found)}; {N_CHECKPOINTS} checkpoints need {needed} prompts, a "
            f"grpo.batch_size of {batch_size} each: raise it"
        )
    steps = steps_of_epoch(fit, batch_size)
    return {"prompts": len(found), "fit": fit, "longest": max(found), "steps": steps}


def check_tokenizer(file: Path, text: str, ids: list[int]) -> None:
    """Raise InputError unless `ids` are those that the file, if there is one, gives to `text`."""
    from tokenizers import Tokenizer

    if file.is_file():
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        if tokenizer.encode(text, add_special_tokens=False).ids != ids:
            raise InputError(
                f"{file}: the engine's transformers splits words otherwise than this file says, "
                "so RL would read other tokens than the rest of the study"
            )
