"""The tables of docs/memory.md are arithmetic on config.yaml and the sizes of its models."""

import pytest
import yaml
from conftest import ROOT

from crosslens.config.study import StudyConfig
from crosslens.workflow.cost_estimate.model_sizes import SIZES

STUDY = StudyConfig.model_validate(yaml.safe_load((ROOT / "config.yaml").read_text()))
VOCABULARIES = {"qwen3-4b": 151_936, "qwen2.5-7b": 152_064, "llama-3.1-8b": 128_256}  # config.json
LOGIT = 14  # bytes at the loss's peak, measured: docs/small.md
PAGE = (ROOT / "docs" / "memory.md").read_text()


def rows(section: str) -> dict[str, list[float]]:
    """Return the numbers of a section's table by the first word or two of each row."""
    _, _, text = PAGE.partition(f"\n## {section}\n")
    lines = [line for line in text.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {
        what: [float(value.replace(",", "")) for value in values]
        for what, *values in cells
        if what and values[0][:1].isdigit()
    }


def row(section: str, start: str) -> list[float]:
    """Return the numbers of the one row of a section that starts so."""
    (found,) = (values for what, values in rows(section).items() if what.startswith(start))
    return found


@pytest.mark.parametrize(("number", "family"), list(enumerate(VOCABULARIES)))
def test_sft(number: int, family: str) -> None:
    size, sft = SIZES[STUDY.families[family].base], STUDY.training_of(family).sft
    tokens = sft.micro_batch_size * sft.max_length
    state = 16 * size.parameters / STUDY.resources["train_sft"].gpu / 1e9
    logits = VOCABULARIES[family] * tokens * LOGIT / 1e9
    kept = size.layers * tokens * size.d_model * 2 / 1e9
    assert f"{tokens:,} tokens" in PAGE
    stated = [row("SFT", x)[number] for x in ("training state", "logits", "checkpointed", "total")]
    assert stated == [round(state, 1), round(logits), round(kept, 1), round(state + logits + kept)]
    assert row("SFT", "one checkpoint")[number] == round(14 * size.parameters / 1e9)


@pytest.mark.parametrize(("number", "family"), list(enumerate(VOCABULARIES)))
def test_grpo(number: int, family: str) -> None:
    size, grpo = SIZES[STUDY.families[family].base], STUDY.training_of(family).grpo
    tokens = grpo.tokens_per_device
    state = 16 * size.parameters / STUDY.resources["train_grpo"].gpu / 1e9
    logits = VOCABULARIES[family] * tokens * LOGIT / 1e9
    kept = size.layers * tokens * size.d_model * 2 / 1e9
    names = ("float32 weights", "**updates**", "logits", "checkpointed", "total")
    stated = [row("GRPO", x)[number] for x in names]
    total = round(state + logits + kept)
    assert stated == [round(state, 1), tokens, round(logits), round(kept, 1), total]
    assert total < 80
    assert row("GRPO", "bfloat16 weights")[number] == round(2 * size.parameters / 1e9, 1)
    share, held = row("GRPO", "**rollouts**")[number], 12 * size.parameters / 8 / 1e9
    assert row("GRPO", "vLLM, with weights")[number] == round(80 * share + held)
    assert row("GRPO", "cache of a token")[number] == round(2 * size.cache / 1e3)
