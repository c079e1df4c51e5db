"""Sample completions from a causal model, in batches from which finished rows are dropped.

transformers' `generate` keeps finished rows until the last one ends, which costs most of the time
on a CPU. It does not return the log-probabilities that GRPO needs either.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float, Int

from crosslens.models.decoding import grouped, roomy_cache, select_rows
from crosslens.models.loading import load_config
from crosslens.models.tokenizer import turn_end_tokens

if TYPE_CHECKING:
    from transformers import Cache, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

DROP_FRACTION = 0.125  # of a batch that must be finished, since dropping rows copies the cache


class Completion(NamedTuple):
    """New tokens with any stop token, their log-probabilities, and whether a stop token came."""

    ids: list[int]
    log_probs: list[float]
    ended: bool


class TokenStep(NamedTuple):
    """One new token for every row that is still in the batch."""

    rows: Int[torch.Tensor, " b"]
    tokens: Int[torch.Tensor, " b"]
    log_probs: Float[torch.Tensor, " b"]
    finished: Bool[torch.Tensor, " b"]


@torch.inference_mode()
def sample(
    model: "PreTrainedModel",
    prompts: list[list[int]],
    *,
    max_new_tokens: int,
    temperature: float,
    stop_ids: int | list[int],
    generator: torch.Generator | None = None,
) -> list[Completion]:
    """Continue each prompt (token ids) up to a token of `stop_ids` or `max_new_tokens` tokens.

    Log-probabilities are those of the sampled distribution. Temperature 0 takes the most likely
    token; its log-probability is that of the unscaled logits. Equal prompts are read once.
    """
    stop = [stop_ids] if isinstance(stop_ids, int) else stop_ids
    ends = torch.tensor(stop, device=model.device)
    completions = [Completion([], [], False) for _ in prompts]
    for step in token_steps(model, prompts, max_new_tokens, temperature, ends, generator):
        for row, token, log_prob, finished in zip(*(part.tolist() for part in step), strict=True):
            if not completions[row].ended:
                completions[row].ids.append(token)
                completions[row].log_probs.append(log_prob)
                if finished:
                    completions[row] = completions[row]._replace(ended=True)
    return completions


def token_steps(
    model: "PreTrainedModel",
    prompts: list[list[int]],
    max_new_tokens: int,
    temperature: float,
    ends: Int[torch.Tensor, " e"],
    generator: torch.Generator | None,
) -> Iterator[TokenStep]:
    """Yield one token per row after each forward pass.

    A row may stay in the batch for some steps after its stop token; its tokens are to be ignored.
    """
    cache = roomy_cache()
    logits, mask = read_prompts(model, prompts, cache)
    rows = torch.arange(len(prompts), device=model.device)
    done = torch.zeros_like(rows, dtype=torch.bool)
    positions = mask.sum(dim=1)
    for step in range(1, max_new_tokens + 1):
        tokens, log_probs = draw_tokens(logits.float(), temperature, generator)
        finished = torch.isin(tokens, ends)
        yield TokenStep(rows, tokens, log_probs, finished)
        done = done | finished
        if step == max_new_tokens or done.all():
            return
        if done.float().mean() >= DROP_FRACTION:
            keep = (~done).nonzero()[:, 0]
            select_rows(cache, keep)
            rows, done, mask, tokens = rows[keep], done[keep], mask[keep], tokens[keep]
            positions = positions[keep]
        mask = torch.nn.functional.pad(mask, (0, 1), value=1)
        with grouped(model):
            logits = model(
                input_ids=tokens[:, None],
                attention_mask=mask,
                position_ids=positions[:, None],
                past_key_values=cache,
                logits_to_keep=1,
            ).logits[:, -1]
        positions = positions + 1


def read_prompts(
    model: "PreTrainedModel", prompts: list[list[int]], cache: "Cache"
) -> tuple[Float[torch.Tensor, "b v"], Int[torch.Tensor, "b t"]]:
    """Fill a cache with prompts; return the logits after each and the mask of its tokens."""
    places: dict[tuple[int, ...], int] = {}
    row_of = [places.setdefault(tuple(prompt), len(places)) for prompt in prompts]
    ids, mask = left_pad([list(prompt) for prompt in places], model.device)
    logits = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        past_key_values=cache,
        logits_to_keep=1,
    ).logits[:, -1]
    if len(places) == len(prompts):
        return logits, mask
    rows = torch.tensor(row_of, device=model.device)
    select_rows(cache, rows)
    return logits[rows], mask[rows]


def left_pad(
    prompts: list[list[int]], device: torch.device
) -> tuple[Int[torch.Tensor, "b t"], Int[torch.Tensor, "b t"]]:
    """Return token ids and attention mask of prompts that all end in the last column."""
    width = max(map(len, prompts))
    ids = [[0] * (width - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def draw_tokens(
    logits: Float[torch.Tensor, "b v"], temperature: float, generator: torch.Generator | None
) -> tuple[Int[torch.Tensor, " b"], Float[torch.Tensor, " b"]]:
    """Return one token per row and its log-probability: softmax at a temperature, greedy at 0."""
    log_probs = torch.log_softmax(logits / (temperature or 1.0), dim=-1)
    if temperature == 0:
        tokens = logits.argmax(-1, keepdim=True)
    else:
        tokens = torch.multinomial(log_probs.exp(), 1, generator=generator)
    return tokens[:, 0], log_probs.gather(1, tokens)[:, 0]


def stop_token_ids(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return the tokens that end a completion, the same for base and its descendants.

    The model declares some, the tokenizer another, and the chat template, by which prompts are
    written, ends a turn with one: a base model's files often declare the end of a document alone,
    and those of its SFT model the end of a turn.
    """
    return end_tokens(model.generation_config, tokenizer)


def stop_tokens_of(path: Path, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return `stop_token_ids` of a model directory, without loading weights."""
    from transformers import GenerationConfig

    if (path / "generation_config.json").is_file():
        return end_tokens(GenerationConfig.from_pretrained(path), tokenizer)
    return end_tokens(GenerationConfig.from_model_config(load_config(path)), tokenizer)


def end_tokens(config: "GenerationConfig", tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return the end tokens of the generation settings, the tokenizer and the chat template."""
    declared = config.eos_token_id
    declared = declared if isinstance(declared, list) else [declared]
    ends = {*declared, tokenizer.eos_token_id, *turn_end_tokens(tokenizer)}
    return sorted(token for token in ends if token is not None)
