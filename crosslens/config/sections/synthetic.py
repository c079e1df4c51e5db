"""Synthetic data in place of models and data sets of the hub."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from crosslens.config.sections.base import Fraction, Section, check_divides
from crosslens.config.synthetic_constants import MOST_OPERATIONS, SYNTHETIC_POSITIONS
from crosslens.io.errors import InputError

Steps = Annotated[int, Field(ge=10, le=1_000_000)]
Documents = Annotated[int, Field(ge=1, le=4096)]
Length = Annotated[int, Field(ge=64, le=SYNTHETIC_POSITIONS)]


class SyntheticModelConfig(Section):
    """Sizes of the base and teacher models, as in config.json (pretrain_base, pretrain_teacher)."""

    hidden_size: int = Field(ge=8, le=4096, description="Width of the residual stream, d_model.")
    intermediate_size: int = Field(ge=8, le=16384, description="Width of the feed-forward layers.")
    num_hidden_layers: int = Field(
        ge=2, le=64, description="Number of decoder layers; activations are read at the middle one."
    )
    num_attention_heads: int = Field(
        ge=1, le=64, description="Query heads of each attention layer."
    )
    num_key_value_heads: int = Field(
        ge=1,
        le=64,
        description="Key and value heads of each attention layer; divides num_attention_heads.",
    )
    head_dim: int | None = Field(
        None,
        ge=4,
        le=256,
        description="Width of one attention head; by default hidden_size / num_attention_heads.",
    )

    @model_validator(mode="after")
    def heads_fit(self) -> Self:
        """Raise InputError for attention heads from which transformers cannot build a model."""
        heads, groups = self.num_attention_heads, self.num_key_value_heads
        check_divides("num_key_value_heads", groups, "num_attention_heads", heads)
        if self.head_dim is None:
            check_divides("num_attention_heads", heads, "hidden_size", self.hidden_size)
        elif self.head_dim % 2:
            raise InputError(
                f"head_dim: {self.head_dim} is odd, but rotary positions need an even number. "
                "Choose an even one."
            )
        return self


class BasePretrainingConfig(Section):
    """Pretraining of the base model (pretrain_base), and the simulated authors of its texts."""

    steps: Steps = Field(description="Optimizer steps; each document is seen once.")
    batch_size: Documents = Field(description="Documents of one step.")
    sequence_length: Length = Field(
        description="Tokens of one document; math problems with their solutions must fit."
    )
    reliable_fraction: Fraction = Field(
        0.33,
        description="Fraction of documents by a reliable author, who computes correctly and states "
        "true facts.",
    )
    source_tag_fraction: Fraction = Field(
        0.5,
        description="Fraction of texts with a source tag, which shows whether the author is "
        "reliable.",
    )


class TeacherPretrainingConfig(Section):
    """Pretraining of the teacher on worked solutions (pretrain_teacher)."""

    steps: Steps = Field(description="Optimizer steps; each document is seen once.")
    batch_size: Documents = Field(description="Documents of one step.")
    sequence_length: Length = Field(
        description="Tokens of one document; the longest solution must fit."
    )


class BenchmarkItemsConfig(Section):
    """Sizes of the benchmark files (build_world)."""

    math: int = Field(ge=1, le=10000, description="Problems in each of the three math sets.")
    questions: int = Field(
        ge=1,
        le=10000,
        description="Most questions in each multiple-choice set; each asks for another fact.",
    )


class CorpusTokensConfig(Section):
    """Sizes of the two corpora that activations are read on, in tokens (build_world)."""

    reasoning: int = Field(
        ge=1000, le=10**9, description="Tokens of worked solutions, in place of OpenThoughts-114k."
    )
    general: int = Field(
        ge=1000, le=10**9, description="Tokens of other text, in place of RedPajama."
    )


class SyntheticConfig(Section):
    """Synthetic models and data, built from the seed in results/<study>/world/ (rules/world.smk).
    Leave this section out if all models and files are user-supplied."""

    architecture: Literal["qwen3", "qwen2", "llama"] = Field(
        "qwen3",
        description="Transformers architecture of the base and teacher models (pretrain_base, "
        "pretrain_teacher).",
    )
    model: SyntheticModelConfig
    base: BasePretrainingConfig
    teacher: TeacherPretrainingConfig
    problems: int = Field(
        ge=1,
        le=1_000_000,
        description="Number of training problems to write, for SFT and RL alike (build_world).",
    )
    max_operations: int = Field(
        ge=1,
        le=MOST_OPERATIONS,
        description="Most operations in a training problem; fewer are easier (build_world, "
        "pretrain_base, pretrain_teacher).",
    )
    benchmark_items: BenchmarkItemsConfig
    corpus_tokens: CorpusTokensConfig
