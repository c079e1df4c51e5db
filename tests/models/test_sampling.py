"""Batched sampling gives the completions of single prompts."""

import pytest
import torch
from real_material import FAMILIES, real
from tiny_models import EOS, letter_tokenizer, tiny_network

from crosslens.models.sampling import draw_tokens, sample, stop_token_ids
from crosslens.models.tokenizer import load_tokenizer

END = 1
ENDS = [1, 5, 9]  # so many that rows end at different times
WINDOWS = {"gemma2": {"sliding_window": 4}}  # tokens that every other layer sees


@pytest.fixture(scope="module", params=["qwen3", "qwen2", "llama", "gemma2"])
def model(request) -> torch.nn.Module:
    sizes = {"layers": 2, "vocab_size": 12, "initializer_range": 0.5}
    network = tiny_network(request.param, **sizes, **WINDOWS.get(request.param, {}))
    return network.double()  # as tokens must not depend on rounding


def plain_loop(model: torch.nn.Module, prompt: list[int], length: int) -> tuple[list, list]:
    """Return greedy tokens and their log-probabilities: one prompt, no cache, no padding."""
    ids, log_probs = list(prompt), []
    while len(log_probs) < length and not {*ids[len(prompt) :]} & {*ENDS}:
        after = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        ids.append(int(after.argmax()))
        log_probs.append(float(after.max()))
    return ids[len(prompt) :], log_probs


@torch.inference_mode()
def test_samples_are_those_of_the_plain_loop(model) -> None:
    """Padding, rows dropped at different times, equal prompts, and a single row."""
    prompts = [[*range(2, 12)], [6], [7, 8], [6], [9, 10, 11], [3, 3], [2], [7, 8], [6], [4, 9]]
    lengths = set()
    for batch in (prompts, prompts[:1], [[6]] * 3):
        found = sample(model, batch, max_new_tokens=12, temperature=0.0, stop_ids=ENDS)
        for prompt, completion in zip(batch, found, strict=True):
            ids, log_probs = plain_loop(model, prompt, 12)
            assert completion.ids == ids
            assert completion.ended == (ids[-1] in ENDS)
            torch.testing.assert_close(completion.log_probs, log_probs, atol=1e-5, rtol=0)
            lengths.add(len(ids))
    assert len(lengths) > 1  # otherwise no row was dropped while others went on


def test_greedy_batch_equals_single_prompts_and_transformers_generate(model) -> None:
    prompts = [[2, 3, 4, 5], [6], [7, 8], [9, 10, 11], [3, 3]]
    settings = {"max_new_tokens": 10, "temperature": 0.0, "stop_ids": END}
    together = sample(model, prompts, **settings)
    for prompt, completion in zip(prompts, together, strict=True):
        (alone,) = sample(model, [prompt], **settings)
        assert completion.ids == alone.ids and completion.ended == alone.ended
        torch.testing.assert_close(completion.log_probs, alone.log_probs, atol=1e-5, rtol=0)
        ids = model.generate(
            torch.tensor([prompt]), max_new_tokens=10, do_sample=False, eos_token_id=END
        )
        assert ids[0, len(prompt) :].tolist() == completion.ids


def test_log_probabilities_equal_a_full_forward_pass(model) -> None:
    generator = torch.Generator().manual_seed(0)
    prompts = [[2, 3], [4, 5, 6], [7]] * 4
    options = {"max_new_tokens": 8, "temperature": 1.0, "stop_ids": END}
    completions = sample(model, prompts, generator=generator, **options)
    for prompt, completion in zip(prompts, completions, strict=True):
        ids = torch.tensor([prompt + completion.ids])
        log_probs = model(ids).logits.log_softmax(-1)[0, len(prompt) - 1 : -1]
        expected = log_probs[torch.arange(len(completion.ids)), torch.tensor(completion.ids)]
        torch.testing.assert_close(completion.log_probs, expected.tolist(), atol=1e-5, rtol=0)
        assert completion.ended == (completion.ids[-1] == END)
        assert END not in completion.ids[:-1]


def test_low_temperature_sharpens_the_distribution() -> None:
    logits = torch.tensor([[0.0, 1.0]]).repeat(4000, 1)
    tokens, _ = draw_tokens(logits, 0.5, torch.Generator().manual_seed(0))
    expected = torch.softmax(torch.tensor([0.0, 2.0]), 0)[1].item()
    assert abs(tokens.float().mean().item() - expected) < 0.03


@pytest.mark.parametrize(
    ("declared", "ends"), [([7, 8], [EOS, 7, 8]), (7, [EOS, 7]), (None, [EOS]), (EOS, [EOS])]
)
def test_stop_tokens_are_those_of_tokenizer_and_model(
    declared: list[int] | int | None, ends: list[int]
) -> None:
    network = tiny_network()
    network.generation_config.eos_token_id = declared
    assert stop_token_ids(network, letter_tokenizer()) == ends


@pytest.mark.parametrize("family", FAMILIES)
def test_a_turns_end_stops_real_base_models_as_it_stops_their_sft_models(family: str) -> None:
    """A base declares the end of a document; LLaMA-Factory's copy of its tokenizer, of a turn."""
    tokenizer, network = load_tokenizer(real(f"tokenizers/{family}")), tiny_network()
    text_end, turn_end = tokenizer.convert_tokens_to_ids(
        [FAMILIES[family].text_end, FAMILIES[family].turn_end]
    )
    network.generation_config.eos_token_id = text_end
    assert tokenizer.eos_token_id == text_end
    assert stop_token_ids(network, tokenizer) == sorted({text_end, turn_end})
    tokenizer.eos_token = FAMILIES[family].turn_end
    assert stop_token_ids(network, tokenizer) == sorted({text_end, turn_end})


@pytest.mark.parametrize("after", ["", "\n\n", "\nUser: "])
def test_a_template_without_a_special_end_of_turn_adds_none(after: str) -> None:
    tokenizer, network = letter_tokenizer(), tiny_network()
    network.generation_config.eos_token_id = None
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}" + after + "{% endfor %}"
    assert stop_token_ids(network, tokenizer) == [EOS]
    tokenizer.chat_template = None
    assert stop_token_ids(network, tokenizer) == [EOS]
