"""Sampling answers from a chat model: a batched loop in transformers, or vLLM."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Int

from crosslens.errors import InputError
from crosslens.progress import track

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

REFILL = 0.125  # finished rows are dropped once they are this share of a batch: a copy of the cache


class Sample(NamedTuple):
    """One answer: its text without special tokens, its length, and whether it ended by itself."""

    text: str
    tokens: int
    ended: bool


def sample(
    model: Path,
    messages: list[str],
    *,
    backend: str,
    temperature: float,
    max_new_tokens: int,
    batch_size: int,
    seed: int,
    gpus: int = 0,
) -> list[Sample]:
    """One sampled answer to each user message, in their order.

    `backend` is "transformers" (one process, CPU or one GPU) or "vllm" (all `gpus` of the job;
    `batch_size` is then vLLM's own affair). Raises InputError for any other backend, or when vLLM
    is asked for and not installed.
    """
    options = {"temperature": temperature, "max_new_tokens": max_new_tokens, "seed": seed}
    if backend == "transformers":
        return with_transformers(model, messages, batch_size=batch_size, **options)
    if backend == "vllm":
        return with_vllm(model, messages, gpus=gpus, **options)
    raise InputError(f"traces.backend: {backend} is neither transformers nor vllm")


def with_vllm(
    model: Path,
    messages: list[str],
    *,
    temperature: float,
    max_new_tokens: int,
    seed: int,
    gpus: int,
) -> list[Sample]:
    """Sample through vLLM's offline engine, which applies the model's own chat template."""
    try:
        from vllm import LLM, SamplingParams
    except ImportError as error:
        raise InputError(
            f"traces.backend: vllm needs the package vllm in this rule's environment ({error}); "
            "use transformers or install it"
        ) from error
    engine = LLM(model=str(model), seed=seed, tensor_parallel_size=max(1, gpus))
    settings = SamplingParams(temperature=temperature, max_tokens=max_new_tokens, seed=seed)
    conversations = [[{"role": "user", "content": message}] for message in messages]
    answers = [answer.outputs[0] for answer in engine.chat(conversations, settings)]
    return [
        Sample(answer.text.strip(), len(answer.token_ids), answer.finish_reason == "stop")
        for answer in answers
    ]


def with_transformers(
    model: Path,
    messages: list[str],
    *,
    temperature: float,
    max_new_tokens: int,
    batch_size: int,
    seed: int,
) -> list[Sample]:
    """Sample with transformers, messages of like length together."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model).eval()
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    generator = torch.Generator(network.device).manual_seed(seed)
    prompts = [prompt_ids(tokenizer, message) for message in messages]
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    samples: dict[int, Sample] = {}
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    for batch in track(batches, "sampling", unit="batches"):
        responses = generate(
            network,
            [prompts[i] for i in batch],
            stop=stop_tokens(network, tokenizer),
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            generator=generator,
        )
        for i, (tokens, ended) in zip(batch, responses, strict=True):
            text = tokenizer.decode(tokens, skip_special_tokens=True).strip()
            samples[i] = Sample(text, len(tokens), ended)
    return [samples[i] for i in range(len(messages))]


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", message: str) -> list[int]:
    """Token ids of one user turn up to where the assistant's answer begins."""
    conversation = [{"role": "user", "content": message}]
    return list(tokenizer.apply_chat_template(conversation, add_generation_prompt=True))


def stop_tokens(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Tokens that end an answer: the tokenizer's and those of the model's generation settings."""
    named = model.generation_config.eos_token_id
    named = named if isinstance(named, list) else [named]
    return sorted({token for token in (*named, tokenizer.eos_token_id) if token is not None})


@torch.inference_mode()
def generate(
    model: "PreTrainedModel",
    prompts: list[list[int]],
    *,
    stop: list[int],
    temperature: float,
    max_new_tokens: int,
    generator: torch.Generator,
) -> list[tuple[list[int], bool]]:
    """Continue each prompt; returns (new tokens, with the stop token; whether one came) per prompt.

    Left-padded, with a key-value cache, from which finished rows are dropped as they pile up.
    """
    responses: list[list[int]] = [[] for _ in prompts]
    stops = torch.tensor(stop, device=model.device)
    ended = torch.zeros(len(prompts), dtype=torch.bool)
    for rows, tokens in steps(model, prompts, stops, temperature, max_new_tokens, generator):
        finished = torch.isin(tokens, stops).tolist()
        for row, token, last in zip(rows.tolist(), tokens.tolist(), finished, strict=True):
            if not ended[row]:
                responses[row].append(token)
                ended[row] = last
    return list(zip(responses, ended.tolist(), strict=True))


def steps(
    model: "PreTrainedModel",
    prompts: list[list[int]],
    stops: Int[torch.Tensor, " s"],
    temperature: float,
    max_new_tokens: int,
    generator: torch.Generator,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (rows, tokens) after each forward pass: one new token for each row still in the batch.

    A row may stay for a while after its stop token; what it then samples is to be ignored.
    """
    from transformers import DynamicCache

    ids, mask = left_pad(prompts, model.device)
    rows = torch.arange(len(prompts), device=model.device)
    done = torch.zeros_like(rows, dtype=torch.bool)
    cache = DynamicCache()
    for _ in range(max_new_tokens):
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            logits_to_keep=1,
        ).logits[:, -1]
        tokens = draw(logits.float(), temperature, generator)
        yield rows, tokens
        done = done | torch.isin(tokens, stops)
        ids, mask = tokens[:, None], torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        if done.all():
            return
        if done.float().mean() >= REFILL:
            keep = (~done).nonzero()[:, 0]
            cache.batch_select_indices(keep)
            rows, done, ids, mask = rows[keep], done[keep], ids[keep], mask[keep]


def left_pad(
    prompts: list[list[int]], device: torch.device
) -> tuple[Int[torch.Tensor, "b t"], Int[torch.Tensor, "b t"]]:
    """Token ids and attention mask of prompts that all end at the same column."""
    width = max(map(len, prompts))
    ids = [[0] * (width - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def draw(
    logits: Float[torch.Tensor, "b v"], temperature: float, generator: torch.Generator
) -> Int[torch.Tensor, " b"]:
    """One token per row: softmax at a temperature, or the most likely one at temperature 0."""
    if temperature == 0:
        return logits.argmax(-1)
    probabilities = torch.softmax(logits / temperature, dim=-1)
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0]
