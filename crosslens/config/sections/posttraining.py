"""Supervised fine-tuning and reinforcement learning."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, StringConstraints, field_validator, model_validator

from crosslens.config.sections.base import (
    BackendOptions,
    BatchSize,
    Fraction,
    Section,
    TokenCount,
    check_divides,
)
from crosslens.io.errors import InputError

# The study defines the reward, for both backends. verl's old key `custom_reward_function`, which
# verl itself ignores without a message, is one of these.
REWARD_KEY = re.compile(r"(^|\.)(reward|reward_\w+|custom_reward_function)(\.|$)")
HARMLESS_KEYS = ("reward.num_workers",)

DottedKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.+]+$")]


class SFTConfig(Section):
    """Supervised fine-tuning with LLaMA-Factory, full parameters, one epoch (train_sft)."""

    learning_rate: float = Field(
        5e-5, gt=0, le=1, description="Peak learning rate (train_sft); the paper has 5e-5."
    )
    batch_size: BatchSize = Field(
        128, description="Traces of one optimizer step (train_sft); the paper has 128."
    )
    micro_batch_size: BatchSize = Field(
        1, description="Traces of one forward pass; divides batch_size (train_sft)."
    )
    max_length: int = Field(
        16384,
        ge=8,
        le=131072,
        description="Longest conversation in tokens; longer ones are truncated (train_sft).",
    )
    warmup_ratio: Fraction = Field(
        0.1, description="Fraction of the steps over which the learning rate rises (train_sft)."
    )
    lr_scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = Field(
        "cosine", description="Learning-rate schedule after warm-up (train_sft)."
    )
    bf16: bool = Field(True, description="Whether to train in bfloat16, as on a GPU (train_sft).")
    deepspeed: Literal["none", "zero2", "zero3"] = Field(
        "none",
        description="DeepSpeed stage that spreads the training state over several GPUs, or none "
        "(train_sft).",
    )
    llamafactory_options: BackendOptions = Field(
        {},
        description="LLaMA-Factory's own keys (template, ...), passed on unchanged; they override "
        "all others (train_sft).",
    )

    @model_validator(mode="after")
    def batches_fit(self) -> Self:
        """Raise InputError if forward passes do not add up to a step."""
        check_divides("micro_batch_size", self.micro_batch_size, "batch_size", self.batch_size)
        return self


class GRPOConfig(Section):
    """Reinforcement learning with GRPO and an outcome reward, one epoch (train_grpo)."""

    engine: Literal["verl", "trl"] = Field(
        "verl", description="Training backend: verl's main_ppo or TRL's GRPOTrainer (train_grpo)."
    )
    device: Literal["cpu", "cuda"] = Field("cuda", description="Device to train on (train_grpo).")
    learning_rate: float = Field(
        1e-6, gt=0, le=1, description="Constant learning rate (train_grpo); the paper has 1e-6."
    )
    batch_size: BatchSize = Field(
        128,
        description="Problems of one step (train_grpo); the problems must fill at least five "
        "steps, one for each checkpoint.",
    )
    mini_batch_size: BatchSize = Field(
        64,
        description="Problems of one update; divides batch_size (train_grpo). In the paper it is "
        "half of batch_size.",
    )
    rollouts: int = Field(
        8,
        ge=2,
        le=1024,
        description="Completions sampled for each problem, one group of advantages (train_grpo).",
    )
    clip_low: float = Field(
        0.22,
        gt=0,
        le=1,
        description="The probability ratio is clipped below at 1 - clip_low (train_grpo).",
    )
    clip_high: float = Field(
        0.28,
        gt=0,
        le=10,
        description="The probability ratio is clipped above at 1 + clip_high (train_grpo).",
    )
    max_prompt_length: TokenCount = Field(
        1024, description="Longest prompt, in tokens; longer ones are dropped (train_grpo)."
    )
    max_response_length: TokenCount = Field(
        16384,
        description="Longest completion, in tokens; a longer one is truncated and gets no reward "
        "(train_grpo).",
    )
    temperature: float = Field(
        1.0, gt=0, le=2, description="Sampling temperature of the rollouts (train_grpo)."
    )
    tokens_per_device: int = Field(
        18432,
        ge=16,
        le=10**8,
        description="Most tokens in one forward pass on one device, at least those of one prompt "
        "and its completion (train_grpo, verl only).",
    )
    save_every: int = Field(
        10,
        ge=1,
        le=100_000,
        description="Steps between two saved training states; an interrupted run repeats at most "
        "this many. Fewer if the five checkpoints need it (train_grpo).",
    )
    engine_options: dict[DottedKey, JsonValue] = Field(
        {},
        description="verl's overrides or TRL's GRPOConfig, passed on unchanged; they override all "
        "others, but cannot change the reward (train_grpo).",
    )

    @field_validator("engine_options")
    @classmethod
    def keep_the_reward(cls, options: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """Raise InputError for a key of the backend that would change the reward."""
        for key in options:
            if REWARD_KEY.search(key.lstrip("+")) and key not in HARMLESS_KEYS:
                raise InputError(
                    f"{key}: the reward is fixed (crosslens.posttraining.grpo.reward). "
                    "Remove the key."
                )
        return options

    @model_validator(mode="after")
    def batches_fit(self) -> Self:
        """Raise InputError if updates do not add up to a step, or a rollout does not fit."""
        check_divides("mini_batch_size", self.mini_batch_size, "batch_size", self.batch_size)
        rollout = self.max_prompt_length + self.max_response_length
        if self.engine == "verl" and self.tokens_per_device < rollout:
            raise InputError(
                f"tokens_per_device: {self.tokens_per_device} tokens are too few for one prompt "
                f"and its completion. Raise tokens_per_device to at least {rollout}."
            )
        return self
