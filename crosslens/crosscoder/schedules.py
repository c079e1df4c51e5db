"""Plan a training run: learning rate, sparsity weight and active features at every step."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from crosslens.config.sections import BatchTopKConfig, CrosscoderConfig
from crosslens.crosscoder.kernels.train_step import StepSettings
from crosslens.io.errors import InputError

MATCHED = "matched"  # value of k: the L0 of a crosscoder with an L1 penalty


class TopK(NamedTuple):
    """BatchTopK: `l0` active features per row at these steps; between steps log l0 is linear."""

    steps: tuple[float, ...]
    l0: tuple[float, ...]
    auxiliary_weight: float
    auxiliary_features: float  # dead features that a row uses, as a fraction of d_model
    dead_after: float  # fraction of all steps

    def keep_at(self, step: int, batch_size: int) -> int:
        """Return how many entries of a batch are kept."""
        l0 = math.exp(np.interp(step, self.steps, np.log(self.l0)))
        return max(1, round(l0 * batch_size))


class TrainingPlan(NamedTuple):
    """Settings and schedule of a training run, fixed before it starts."""

    shards: int
    steps_per_shard: int
    batch_size: int
    beta: float
    learning_rate: float
    adam_betas: tuple[float, float]
    gradient_clip: float
    sparsity_warmup: float
    lr_decay: float
    dtype: str
    path: str
    seed: int
    in_order: bool = True  # whether the first pass over a shard is in file order
    topk: TopK | None = None

    def step_settings(self, d_model: int) -> StepSettings:
        """Return the settings of a step."""
        dtype = getattr(torch, self.dtype)
        if self.topk is None:
            return StepSettings(self.adam_betas, self.gradient_clip, dtype, self.path)
        return StepSettings(
            self.adam_betas,
            self.gradient_clip,
            dtype,
            "sparse",
            self.topk.auxiliary_weight,
            max(1, round(self.topk.auxiliary_features * d_model)),
            round(self.topk.dead_after * self.steps),
        )

    @property
    def steps(self) -> int:
        """Return the number of steps over all shards."""
        return self.shards * self.steps_per_shard

    def rate_at(self, step: int) -> float:
        """Return the learning rate: constant, then linear to zero over the last `lr_decay`."""
        left = (self.steps - step) / max(1.0, self.lr_decay * self.steps)
        return self.learning_rate * min(1.0, left)

    def beta_at(self, step: int) -> float:
        """Return the sparsity weight: linear up to beta over the first `sparsity_warmup`.

        It is zero with BatchTopK.
        """
        if self.topk:
            return 0.0
        return self.beta * min(1.0, (step + 1) / max(1.0, self.sparsity_warmup * self.steps))


def make_plan(
    settings: CrosscoderConfig,
    *,
    rows: int,
    shards: int,
    seed: int,
    in_order: bool = True,
    batch_topk: BatchTopKConfig | None = None,
    reference: Sequence[tuple[int, float]] = (),
) -> TrainingPlan:
    """Return the plan for `shards` shards of `rows` activations, from the `crosscoder` settings.

    With `batch_topk`, the crosscoder has that activation instead of ReLU and an L1 penalty.
    All shards have the same number of rows, including masked ones, so that every shard gives the
    same plan. `reference` are steps and L0 of a crosscoder with an L1 penalty, which BatchTopK
    follows if its k is "matched".

    Raises InputError when a shard does not fill a batch, or when the reference is missing.
    """
    size = settings.batch_size
    if rows < size:
        raise InputError(
            f"crosscoder.batch_size: {size} is more than the {rows} activations of a shard. "
            "Lower the batch size, raise corpus.tokens, or lower activations.shards."
        )
    steps_per_shard = settings.epochs * (rows // size)
    first, second = settings.adam_betas
    topk = None
    if batch_topk:
        warmup = settings.sparsity_warmup * shards * steps_per_shard
        topk = make_topk(batch_topk, settings.d_sparse, warmup, reference)
    return TrainingPlan(
        shards=shards,
        steps_per_shard=steps_per_shard,
        batch_size=size,
        beta=settings.beta,
        learning_rate=settings.learning_rate,
        adam_betas=(first, second),
        gradient_clip=settings.gradient_clip,
        sparsity_warmup=settings.sparsity_warmup,
        lr_decay=settings.lr_decay,
        dtype=settings.dtype,
        path=settings.kernel,
        seed=seed,
        in_order=in_order,
        topk=topk,
    )


def make_topk(
    settings: BatchTopKConfig,
    d_sparse: int,
    warmup: float,
    reference: Sequence[tuple[int, float]],
) -> TopK:
    """Return the plan of BatchTopK.

    L0 follows the reference if k is "matched". Otherwise it falls from half of the features, which
    are active before training, to k at the end of the warm-up. Raises InputError when the reference
    is missing.
    """
    options = settings.auxiliary_weight, settings.auxiliary_features, settings.dead_after
    if not isinstance(settings.k, str):
        return TopK((0.0, warmup), (d_sparse / 2, settings.k), *options)
    if not reference:
        raise InputError(
            f"crosscoder.batch_topk.k: {MATCHED} requires a crosscoder with an L1 penalty. "
            "Set a number."
        )
    steps, l0 = zip(*reference, strict=True)
    return TopK(steps, tuple(max(x, 1e-3) for x in l0), *options)
