"""LLaMA-Factory's encoding and labels with the three families' real tokenizers and settings."""

from pathlib import Path

import pytest
import yaml
from llamafactory.data.processor.supervised import SupervisedDatasetProcessor
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.extras.constants import IGNORE_INDEX
from llamafactory.hparams import DataArguments
from real_material import FAMILIES, real, written_prompt
from transformers import AutoTokenizer

from crosslens.config.study import StudyConfig
from crosslens.data.traces import sft_rows
from crosslens.io.errors import InputError
from crosslens.io.records import read_jsonl
from crosslens.posttraining.sft.entrypoint import check_template

CONFIG = Path(__file__).resolve().parents[3] / "config.yaml"
STUDY = StudyConfig(**yaml.safe_load(CONFIG.read_text()))
ENTRIES = {"qwen3-4b": "qwen3", "qwen2.5-7b": "qwen2.5", "llama-3.1-8b": "llama-3.1"}
BLOCK = "<think>\nOne and one.\n</think>\n\nIt is \\boxed{2}."


def arguments(**options: str) -> DataArguments:
    keys = ("template", "default_system")
    return DataArguments(cutoff_len=4096, **{key: options[key] for key in keys if key in options})


def tokenizers(family: str) -> list:
    """Return the family's tokenizer twice: LLaMA-Factory changes the second."""
    return [AutoTokenizer.from_pretrained(real(f"tokenizers/{family}")) for _ in range(2)]


def conversations() -> list[list[dict[str, str]]]:
    """Return traces of GSM8K's human solutions, and one that reasons."""
    rows = read_jsonl(real("problems/gsm8k_train.jsonl"))[:7]
    rows = [{"problem": row["problem"], "response": row["solution"]} for row in rows]
    rows.append({"problem": "Compute $1+1$.", "response": BLOCK})
    return [row["messages"] for row in sft_rows(rows)]


@pytest.mark.parametrize("entry", STUDY.families)
def test_real_traces_follow_real_prompts_and_only_they_are_learned(entry: str) -> None:
    """By the paper's configuration: prompt as written by the template, trace, end of turn."""
    family = ENTRIES[entry]
    base, tokenizer = tokenizers(family)
    data = arguments(**STUDY.training_of(entry).sft.llamafactory_options)
    template = get_template_and_fix_tokenizer(tokenizer, data)
    assert tokenizer.eos_token == FAMILIES[family].turn_end
    processor = SupervisedDatasetProcessor(template, tokenizer, None, data)
    for messages in conversations():
        check_template(base, tokenizer, template, messages)
        columns = {"_prompt": [messages[:-1]], "_response": [messages[-1:]]}
        rest = dict.fromkeys(("_system", "_tools", "_images", "_videos", "_audios"), [None])
        found = processor.preprocess_dataset(columns | rest)
        message, answer = (turn["content"] for turn in messages)
        prompt = base.encode(written_prompt(family, message), add_special_tokens=False)
        trace = base.encode(answer + FAMILIES[family].after, add_special_tokens=False)
        assert found["input_ids"] == [prompt + trace]
        assert found["labels"] == [[IGNORE_INDEX] * len(prompt) + trace]


def test_a_template_that_adds_an_empty_think_block_is_refused() -> None:
    """LLaMA-Factory's qwen3 does, where a trace has no reasoning."""
    base, tokenizer = tokenizers("qwen3")
    template = get_template_and_fix_tokenizer(tokenizer, arguments(template="qwen3"))
    plain, *_, reasoning = conversations()
    with pytest.raises(InputError, match="template changes the traces. The first one is"):
        check_template(base, tokenizer, template, plain)
    check_template(base, tokenizer, template, reasoning)
