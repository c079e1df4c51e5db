"""Activations, and the crosscoders that are trained on them."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from crosslens.config.sections.base import BatchSize, Fraction, Section, without_repeats
from crosslens.io.errors import InputError

Layer = Annotated[int, Field(ge=1, le=1000)]
DecayRate = Annotated[float, Field(ge=0, lt=1)]
Evidence = Literal[
    "batch_topk",
    "batch_topk_seeds",
    "swapped",
    "noise",
    "self",
    "differences",
    "drift_matched",
    "checkpoints",
]


class ActivationsConfig(Section):
    """The residual stream of every model, in temporary shards (extract_activations)."""

    layer: Literal["middle"] | Layer = Field(
        "middle",
        description="Read the residual stream after that many decoder layers; middle is "
        "num_hidden_layers // 2 (extract_activations, intervene).",
    )
    shards: int = Field(
        100,
        ge=1,
        le=100_000,
        description="Number of training shards; more shards need less disk at a time "
        "(extract_activations, train_crosscoders).",
    )
    shards_on_disk: int = Field(
        2,
        ge=1,
        le=1000,
        description="Most shards per model that are on disk at a time (extract_activations).",
    )
    skip_positions: int = Field(
        1,
        ge=0,
        le=1024,
        description="Number of positions at the start of each sequence that are skipped "
        "(extract_activations).",
    )
    sink_threshold: float = Field(
        10.0,
        gt=1,
        le=10**6,
        description="Activations with a norm above this multiple of the median are masked as "
        "attention sinks (extract_activations).",
    )
    batch_size: BatchSize = Field(
        8, description="Sequences in one forward pass (extract_activations)."
    )


class BatchTopKConfig(Section):
    """BatchTopK, which keeps the largest activations of a batch (train_crosscoders)."""

    k: Literal["matched"] | Annotated[float, Field(gt=0, le=2**20)] = Field(
        "matched",
        description="Average number of active features per token; matched uses the L0 of the "
        "crosscoder of the same models with an L1 penalty (train_crosscoders).",
    )
    auxiliary_weight: float = Field(
        0.03125,
        ge=0,
        le=1000,
        description="Weight of the auxiliary loss, which trains dead features (train_crosscoders).",
    )
    auxiliary_features: float = Field(
        0.5,
        gt=0,
        le=1000,
        description="Number of dead features per token in the auxiliary loss, as a fraction of "
        "d_model (train_crosscoders).",
    )
    dead_after: Fraction = Field(
        0.1,
        description="A feature is dead after being inactive for this fraction of all steps "
        "(train_crosscoders).",
    )


class CrosscoderConfig(Section):
    """Crosscoders of base with each of ten checkpoints (pairs), of the three final models (trio),
    Eqs. 1-3 and 5-7, and further ones that test the method (train_crosscoders)."""

    d_sparse: int = Field(
        32768,
        ge=8,
        le=2**20,
        description="Number of features (train_crosscoders); the paper has 32768.",
    )
    beta: float = Field(
        2.0, ge=0, le=1000, description="Weight of the sparsity term in Eq. 3 (train_crosscoders)."
    )
    learning_rate: float = Field(
        1e-4,
        gt=0,
        le=1,
        description="Adam's learning rate before it decays (train_crosscoders).",
    )
    batch_size: int = Field(
        1024, ge=1, le=2**20, description="Tokens in one optimizer step (train_crosscoders)."
    )
    epochs: int = Field(
        1, ge=1, le=1000, description="Passes over a shard before the next one (train_crosscoders)."
    )
    adam_betas: Annotated[list[DecayRate], Field(min_length=2, max_length=2)] = Field(
        [0.9, 0.999],
        description="Adam's decay rates of the first and second moments (train_crosscoders).",
    )
    gradient_clip: float = Field(
        1.0, gt=0, le=10**6, description="Largest norm of the gradient (train_crosscoders)."
    )
    sparsity_warmup: Fraction = Field(
        0.05,
        description="First fraction of all steps, over which beta rises from zero "
        "(train_crosscoders).",
    )
    lr_decay: Fraction = Field(
        0.2,
        description="Last fraction of all steps, over which the learning rate falls to zero "
        "(train_crosscoders).",
    )
    decoder_norm: float = Field(
        0.08,
        gt=0,
        le=100,
        description="L2 norm of each decoder vector at initialization (train_crosscoders).",
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Type of the matrix products; the master weights are always float32 "
        "(train_crosscoders).",
    )
    kernel: Literal["auto", "dense", "sparse"] = Field(
        "auto",
        description="How the exact gradients are computed: sums over nonzeros (sparse), matrix "
        "products (dense), or the faster of the two at the measured density (auto) "
        "(train_crosscoders).",
    )
    extra_seeds: int = Field(
        1,
        ge=0,
        le=100,
        description="Further seeds, of initialization and order of rows, of each family's two "
        "final pairs and of its trio, for which features and interventions are repeated "
        "(train_crosscoders, measure_overlap, score_features, intervene).",
    )
    activation: Literal["relu_l1", "batch_topk"] = Field(
        "relu_l1",
        description="ReLU with an L1 penalty, as in the paper, or BatchTopK (train_crosscoders).",
    )
    batch_topk: BatchTopKConfig = BatchTopKConfig()
    evidence: Annotated[
        list[Evidence],
        Field(json_schema_extra={"uniqueItems": True}),
        AfterValidator(without_repeats),
    ] = Field(
        [],
        description="Further crosscoders that test the method. batch_topk: both final pairs and "
        "the trio with BatchTopK. batch_topk_seeds: the same with the seeds of `extra_seeds`, so "
        "that BatchTopK has an interval. swapped: both pairs and the trio with the models of each "
        "row in random order, a null without model-specific features. noise: all three with noise "
        "in place of the difference from base. self: base twice. differences: an autoencoder of "
        "each final model's difference from base. drift_matched: base with a model between base "
        "and SFT that is as far from base as RL. checkpoints: base with all checkpoints of a "
        "paradigm (match_drift, train_crosscoders, score_specificity, measure_overlap, "
        "measure_rank_shifts).",
    )

    @model_validator(mode="after")
    def l0_is_known(self) -> Self:
        """Raise InputError if BatchTopK should match a crosscoder that is not trained."""
        if self.activation == "batch_topk" and "batch_topk" in self.evidence:
            raise InputError(
                "evidence: batch_topk is already the activation of all crosscoders. Remove it "
                "from evidence."
            )
        if "batch_topk_seeds" in self.evidence and "batch_topk" not in self.evidence:
            raise InputError(
                "evidence: batch_topk_seeds requires batch_topk. Add batch_topk to evidence."
            )
        if self.activation == "batch_topk" and self.batch_topk.k == "matched":
            raise InputError(
                "batch_topk.k: matched requires crosscoders with an L1 penalty. Set a number, or "
                "set activation: relu_l1."
            )
        return self
