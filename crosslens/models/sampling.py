"""Sampling completions from a causal model, in batches from which finished rows are dropped."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float, Int

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DROP = 0.125  # finished rows are dropped when they are this share of a batch: it copies the cache


class Completion(NamedTuple):
    """New tokens with the ending one, their log-probabilities, and whether the end came."""

    ids: list[int]
    log_probs: list[float]
    ended: bool


class Step(NamedTuple):
    """One new token for each row that is still in the batch."""

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
    end: int | list[int],
    generator: torch.Generator | None = None,
) -> list[Completion]:
    """Continue each prompt (token ids) until a token of `end` or `max_new_tokens` new ones.

    Log-probabilities are those of the distribution drawn from (of the unscaled logits at
    temperature 0, where the most likely token is taken).
    """
    ends = torch.tensor([end] if isinstance(end, int) else end, device=model.device)
    completions = [Completion([], [], False) for _ in prompts]
    for step in steps(model, prompts, max_new_tokens, temperature, ends, generator):
        for row, token, log_prob, finished in zip(*(part.tolist() for part in step), strict=True):
            if not completions[row].ended:
                completions[row].ids.append(token)
                completions[row].log_probs.append(log_prob)
                completions[row] = completions[row]._replace(ended=finished)
    return completions


def steps(
    model: "PreTrainedModel",
    prompts: list[list[int]],
    max_new_tokens: int,
    temperature: float,
    ends: Int[torch.Tensor, " e"],
    generator: torch.Generator | None,
) -> Iterator[Step]:
    """Yield after each forward pass; a row may stay, and be ignored, for a while after its end."""
    from transformers import DynamicCache

    ids, mask = left_pad(prompts, model.device)
    rows = torch.arange(len(prompts), device=model.device)
    done = torch.zeros_like(rows, dtype=torch.bool)
    cache = DynamicCache()
    for _ in range(max_new_tokens):
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :],
            past_key_values=cache,
            logits_to_keep=1,
        ).logits[:, -1]
        tokens, log_probs = draw(logits.float(), temperature, generator)
        finished = torch.isin(tokens, ends)
        yield Step(rows, tokens, log_probs, finished)
        done = done | finished
        ids, mask = tokens[:, None], torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        if done.all():
            return
        if done.float().mean() >= DROP:
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
    logits: Float[torch.Tensor, "b v"], temperature: float, generator: torch.Generator | None
) -> tuple[Int[torch.Tensor, " b"], Float[torch.Tensor, " b"]]:
    """One token per row and its log-probability: softmax at a temperature; greedy at 0."""
    log_probs = torch.log_softmax(logits / (temperature or 1.0), dim=-1)
    if temperature == 0:
        tokens = logits.argmax(-1, keepdim=True)
    else:
        tokens = torch.multinomial(log_probs.exp(), 1, generator=generator)
    return tokens[:, 0], log_probs.gather(1, tokens)[:, 0]


def stop_tokens(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Tokens that end an answer: the tokenizer's, and those the model itself declares (an
    instruction-tuned one ends a turn with another token than a text)."""
    named = model.generation_config.eos_token_id
    named = named if isinstance(named, list) else [named]
    return sorted({token for token in (*named, tokenizer.eos_token_id) if token is not None})
