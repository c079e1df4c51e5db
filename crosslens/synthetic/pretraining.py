"""Pretrain the synthetic models: a base model on texts of all authors, a teacher on lessons."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from crosslens.config.sections.synthetic import SyntheticModelConfig
from crosslens.config.synthetic_constants import FACTS_FILE
from crosslens.io.progress import track
from crosslens.io.records import write_json
from crosslens.synthetic.authors import item, lesson
from crosslens.synthetic.facts import World
from crosslens.synthetic.tokenizer import encoder

ADAM_RATE, MUON_RATE = 3e-3, 2e-2
WARMUP_STEPS = 30
MISFITS = 4  # texts that may be too long for the rest of a row before it is left as it is


class Schedule(NamedTuple):
    """Steps and batch sizes; in the last fraction `decay` of steps, the rate falls to 0."""

    steps: int
    batch_size: int
    decay: float = 0.3


def build_model(
    architecture: str, sizes: SyntheticModelConfig, tokenizer: PreTrainedTokenizerFast, seed: int
) -> torch.nn.Module:
    """Return an untrained causal language model of an architecture: qwen3, qwen2 or llama."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        architecture,
        vocab_size=len(tokenizer),
        max_position_embeddings=tokenizer.model_max_length,
        tie_word_embeddings=True,
        initializer_range=0.03,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **sizes.plain(),
    )
    return AutoModelForCausalLM.from_config(config)


def base_rows(
    tokenizer: PreTrainedTokenizerFast,
    world: World,
    seed: int,
    count: int,
    length: int,
    *,
    reliable_fraction: float,
    source_tag_fraction: float,
) -> Int[torch.Tensor, "{count} {length}"]:
    """Return documents [count, length] for the base model; each has texts of one author."""
    rng = random.Random(f"base {seed}")

    def author() -> Callable[[], str]:
        reliable = rng.random() < reliable_fraction
        return lambda: item(rng, world, reliable, source_tag_fraction)

    return fill_rows(tokenizer, author, count, length)


def teacher_rows(
    tokenizer: PreTrainedTokenizerFast, world: World, seed: int, count: int, length: int
) -> Int[torch.Tensor, "{count} {length}"]:
    """Return documents [count, length] for the teacher: sums, notes, and problems."""
    rng = random.Random(f"teacher {seed}")
    return fill_rows(tokenizer, lambda: lambda: lesson(rng, world), count, length)


def fill_rows(
    tokenizer: PreTrainedTokenizerFast,
    author: Callable[[], Callable[[], str]],
    count: int,
    length: int,
) -> Int[torch.Tensor, "{count} {length}"]:
    """Return rows [count, length] of complete texts of one author each, ended by eos and padded."""
    encode = encoder(tokenizer)
    rows = torch.full((count, length), tokenizer.pad_token_id)
    for row in track(rows, "writing documents", unit="rows"):
        write, misfits = author(), 0
        ids: list[int] = []
        while misfits < MISFITS or not ids:
            new = encode(write()) + [tokenizer.eos_token_id]
            if len(ids) + len(new) <= length:
                ids += new
            else:
                misfits += 1
        row[: len(ids)] = torch.tensor(ids)
    return rows


def train(model: torch.nn.Module, rows: Int[torch.Tensor, "n t"], schedule: Schedule) -> list[dict]:
    """Train on next tokens over `rows`, once; Muon for the matrices, AdamW for the rest.

    Returns a record (step, loss, tokens_per_s) for each step.
    """
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    optimizers = [
        torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.05, momentum=0.95),
        torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]
    schedulers = [
        torch.optim.lr_scheduler.LambdaLR(o, lambda s: rate_at(s, schedule)) for o in optimizers
    ]
    records = []
    for step, batch in enumerate(
        track(rows.split(schedule.batch_size), "pretraining", unit="steps"), 1
    ):
        started = time.perf_counter()
        loss = next_token_loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        rate = batch.numel() / (time.perf_counter() - started)
        records.append({"step": step, "loss": loss.item(), "tokens_per_s": round(rate)})
    return records


def rate_at(step: int, schedule: Schedule) -> float:
    """Return the fraction of the learning rate at a step: warm-up, plateau, linear decay."""
    left = (schedule.steps - step) / (schedule.steps * schedule.decay)
    return min(1.0, (step + 1) / WARMUP_STEPS, left)


def next_token_loss(
    model: torch.nn.Module, batch: Int[torch.Tensor, "b t"]
) -> Float[torch.Tensor, ""]:
    """Return the mean cross-entropy of each next token, padding left out."""
    pad = model.config.pad_token_id
    batch = batch[:, : int((batch != pad).sum(1).max())]
    keep = batch[:, 1:] != pad
    hidden = model.model(batch[:, :-1], use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[keep])
    return torch.nn.functional.cross_entropy(logits, batch[:, 1:][keep])


def save(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, facts: dict[str, int], path: Path
) -> None:
    """Write a plain Hugging Face directory, and the seed of the `facts` that the model has read."""
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    write_json(path / FACTS_FILE, facts)
