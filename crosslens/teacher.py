"""A teacher's answers to user messages: sampled in transformers, or by vLLM."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from crosslens.errors import InputError
from crosslens.progress import track
from crosslens.sampling import sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Answer(NamedTuple):
    """One answer: its text without special tokens, its length, and whether it ended by itself."""

    text: str
    tokens: int
    ended: bool


def answers(
    model: Path,
    messages: list[str],
    *,
    backend: str,
    temperature: float,
    max_new_tokens: int,
    batch_size: int,
    seed: int,
    gpus: int = 0,
) -> list[Answer]:
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
) -> list[Answer]:
    """Sample through vLLM's offline engine, which applies the model's own chat template.

    Written against vLLM's documented interface; its wheels need a GPU, so no test runs it.
    """
    try:
        from vllm import LLM, SamplingParams
    except ImportError as error:
        raise InputError(
            f"traces.backend: vllm needs the package vllm in this rule's environment ({error}): "
            "install it or use transformers"
        ) from error
    engine = LLM(model=str(model), seed=seed, tensor_parallel_size=max(1, gpus))
    settings = SamplingParams(temperature=temperature, max_tokens=max_new_tokens, seed=seed)
    conversations = [[{"role": "user", "content": message}] for message in messages]
    outputs = [request.outputs[0] for request in engine.chat(conversations, settings)]
    return [
        Answer(output.text.strip(), len(output.token_ids), output.finish_reason == "stop")
        for output in outputs
    ]


def with_transformers(
    model: Path,
    messages: list[str],
    *,
    temperature: float,
    max_new_tokens: int,
    batch_size: int,
    seed: int,
) -> list[Answer]:
    """Sample with transformers, prompts of like length together."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model).eval()
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    settings = {
        "temperature": temperature,
        "max_new_tokens": max_new_tokens,
        "end": stop_tokens(network, tokenizer),
        "generator": torch.Generator(network.device).manual_seed(seed),
    }
    prompts = [prompt_ids(tokenizer, message) for message in messages]
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    found: dict[int, Answer] = {}
    for batch in track(batches, "sampling", unit="batches"):
        completions = sample(network, [prompts[i] for i in batch], **settings)
        for i, completion in zip(batch, completions, strict=True):
            text = tokenizer.decode(completion.ids, skip_special_tokens=True).strip()
            found[i] = Answer(text, len(completion.ids), completion.ended)
    return [found[i] for i in range(len(messages))]


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", message: str) -> list[int]:
    """Token ids of one user turn up to where the assistant's answer begins."""
    conversation = [{"role": "user", "content": message}]
    return list(tokenizer.apply_chat_template(conversation, add_generation_prompt=True))


def stop_tokens(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Tokens that end an answer: the tokenizer's and those of the model's generation settings."""
    named = model.generation_config.eos_token_id
    named = named if isinstance(named, list) else [named]
    return sorted({token for token in (*named, tokenizer.eos_token_id) if token is not None})
