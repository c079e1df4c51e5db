"""verl's prompts of real problems with the three families' real tokenizers."""

from pathlib import Path

import pytest
from real_material import FAMILIES, real, written_prompt
from verl.utils import hf_tokenizer
from verl.utils.tokenizer.continuous_token_wiring import create_continuous_token_builder

from crosslens.data.conversations import prompt_ids
from crosslens.data.grading import user_message
from crosslens.data.traces import grpo_rows
from crosslens.io.records import read_jsonl
from crosslens.models.tokenizer import load_tokenizer
from crosslens.posttraining.grpo.prompts import copy_tokenizer, prompt_lengths


@pytest.mark.parametrize("family", FAMILIES)
def test_real_prompts_are_those_of_traces_and_evaluation(family: str, tmp_path: Path) -> None:
    """Token by token, as verl's agent loop builds them; and counted as long as they are."""
    tokenizer = copy_tokenizer(real(f"tokenizers/{family}"), tmp_path / "tokenizer")
    rows = read_jsonl(real("problems/math_train.jsonl"))[:20]
    prompts = [row["prompt"] for row in grpo_rows([row | {"source": "math"} for row in rows], 1)]
    builder = create_continuous_token_builder(hf_tokenizer(str(tokenizer)))
    ours, found = load_tokenizer(tokenizer), []
    for row, prompt in zip(rows, prompts, strict=True):
        found.append(list(builder.build_initial_tokens(prompt)))
        message = user_message(row["problem"])
        written = ours.encode(written_prompt(family, message), add_special_tokens=False)
        assert found[-1] == prompt_ids(ours, message) == written
    assert prompt_lengths(prompts, tokenizer) == list(map(len, found))
    assert hf_tokenizer(str(tokenizer)).eos_token == FAMILIES[family].text_end
