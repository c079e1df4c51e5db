"""Sample a teacher's answers to user messages with transformers or vLLM."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from crosslens.data.conversations import prompt_ids
from crosslens.io.errors import InputError
from crosslens.models.loading import load_network, loading
from crosslens.models.sampling import sample, stop_token_ids, stop_tokens_of
from crosslens.models.tokenizer import load_tokenizer
from crosslens.models.vllm_engine import completions, start_engine


class Answer(NamedTuple):
    """One answer: its text without special tokens, its length, and whether it ended by itself."""

    text: str
    tokens: int
    ended: bool


Sampler = Callable[[list[str], int], list[Answer]]  # user messages, seed


def sampler(
    model: Path,
    *,
    backend: str,
    temperature: float,
    max_new_tokens: int,
    gpus: int = 0,
    options: dict[str, Any] | None = None,
    engine: dict[str, Any] | None = None,
) -> Sampler:
    """Load a model; return a function that samples one answer to each user message, in order.

    `backend` is "transformers" (one process, CPU or one GPU) or "vllm" (all `gpus` of the job,
    with vLLM's own sampling `options` and `engine` arguments). Raises InputError for any other
    backend, or if vLLM is requested and not installed.
    """
    if backend == "transformers":
        return with_transformers(model, temperature, max_new_tokens)
    if backend == "vllm":
        sampling = {"temperature": temperature, "max_tokens": max_new_tokens, **(options or {})}
        return with_vllm(model, sampling, gpus, engine or {})
    raise InputError(f"traces.backend: unknown backend {backend}. Choose transformers or vllm.")


def with_vllm(
    model: Path, sampling: dict[str, Any], gpus: int, arguments: dict[str, Any]
) -> Sampler:
    """Sample through vLLM's offline engine, with our tokenizer for prompts and texts.

    Raises InputError when vLLM is not installed.
    """
    engine = start_engine("traces.backend", model, gpus, arguments)
    tokenizer = load_tokenizer(model)
    sampling = {"stop_token_ids": stop_tokens_of(model, tokenizer)} | sampling

    def draw(messages: list[str], seed: int) -> list[Answer]:
        prompts = [prompt_ids(tokenizer, message) for message in messages]
        settings = [{**sampling, "seed": seed + i} for i in range(len(messages))]
        completed = dict(completions(engine, prompts, settings))
        outputs = [completed[i] for i in range(len(messages))]
        texts = [tokenizer.decode(x.token_ids, skip_special_tokens=True) for x in outputs]
        return [
            Answer(text.strip(), len(output.token_ids), output.finish_reason == "stop")
            for text, output in zip(texts, outputs, strict=True)
        ]

    return draw


def with_transformers(model: Path, temperature: float, max_new_tokens: int) -> Sampler:
    """Sample with transformers, all messages in one batch."""
    from crosslens.models.transformers_light import AutoModelForCausalLM

    network = load_network(model, AutoModelForCausalLM)
    with loading(model):
        tokenizer = load_tokenizer(model)
    stop_ids = stop_token_ids(network, tokenizer)

    def draw(messages: list[str], seed: int) -> list[Answer]:
        completions = sample(
            network,
            [prompt_ids(tokenizer, message) for message in messages],
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            stop_ids=stop_ids,
            generator=torch.Generator(network.device).manual_seed(seed),
        )
        texts = [tokenizer.decode(c.ids, skip_special_tokens=True).strip() for c in completions]
        return [
            Answer(text, len(completion.ids), completion.ended)
            for text, completion in zip(texts, completions, strict=True)
        ]

    return draw
