"""Train a crosscoder shard by shard; training resumes exactly from the state after any shard.

Weights are float32; Adam's gradient is clipped, the learning rate falls to zero at the end, and the
sparsity weight rises at the start. The number of steps follows from the corpus, so that schedules
do not depend on interruptions. `kernels` computes the steps.
"""

import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped

from crosslens.activations.shard_reader import ShardReader
from crosslens.config.sections import CrosscoderConfig
from crosslens.crosscoder.inputs import scales_of, slots, view
from crosslens.crosscoder.kernels.parameter_matrices import StepStats
from crosslens.crosscoder.kernels.train_step import Moments, TrainStep
from crosslens.crosscoder.model import Crosscoder, read_tensors, write_tensors
from crosslens.crosscoder.schedules import TrainingPlan
from crosslens.io.errors import InputError
from crosslens.io.progress import track

LOG_LINES = 50  # per shard
MODEL = "model."  # prefix of the crosscoder's tensors in a state
LAST_KEPT = "last_kept"
MOMENTS = ("exp_avg", "exp_avg_sq")  # Adam's state of one parameter


class TrainingState(NamedTuple):
    """A crosscoder in training, Adam's moments, and the number of steps taken."""

    crosscoder: Crosscoder
    moments: Moments
    step: int
    last_kept: Int[torch.Tensor, " k"] | None = None  # of BatchTopK, see TrainStep


def first_pass(kept: int, plan: TrainingPlan) -> int:
    """Return the number of distinct rows that training sees in a shard, in complete batches."""
    return min(plan.steps_per_shard, kept // plan.batch_size) * plan.batch_size


def start_training(
    models: list[str],
    reader: ShardReader,
    settings: CrosscoderConfig,
    plan: TrainingPlan,
    device: torch.device | str = "cpu",
    *,
    inputs: str = "activations",
) -> TrainingState:
    """Create a crosscoder of a kind of `inputs`, with the scales of the first shard."""
    names = slots(inputs, models)
    crosscoder = Crosscoder(
        len(names),
        reader.d_model,
        settings.d_sparse,
        seed=plan.seed,
        decoder_norm=settings.decoder_norm,
        metadata={
            "models": names,
            "inputs": inputs,
            "activation": "batch_topk" if plan.topk else "relu_l1",
            "layer": reader.attribute("layer")[0],
            "corpus_hash": reader.attribute("corpus_hash")[0],
            "model_hashes": reader.attribute("model_hash"),
            "distinct_tokens": 0,
        },
    )
    crosscoder.scales.copy_(scales_of(inputs, reader, plan.batch_size))
    crosscoder.to(device)
    last_kept = torch.zeros(settings.d_sparse, dtype=torch.int64, device=device)
    moments = Moments.zero(crosscoder)
    return TrainingState(crosscoder, moments, 0, last_kept if plan.topk else None)


def check_same_origin(state: TrainingState, reader: ShardReader, path: Path) -> None:
    """Raise InputError when a state was trained on a different corpus or different models."""
    metadata = state.crosscoder.metadata
    hashes = [reader.attribute("corpus_hash")[0], *reader.attribute("model_hash")]
    if hashes != [metadata["corpus_hash"], *metadata["model_hashes"]]:
        raise InputError(
            f"{path}: this training state belongs to a corpus or models other than those of "
            f"{reader.paths[0].parent.parent}. Delete it and run again."
        )


def train_shard(
    state: TrainingState, reader: ShardReader, plan: TrainingPlan, what: str
) -> tuple[TrainingState, list[dict]]:
    """Train on one shard; return the new state and the records of the training log.

    A record's `waiting_share` is the fraction of the shard's time so far in which training waited
    for data. Raises InputError when the loss is no longer finite.
    """
    crosscoder, moments, step, last_kept = state
    device, seed = crosscoder.scales.device, [plan.seed, step]
    shard = reader.attribute("shard")[0]
    to_inputs = view(crosscoder.metadata["inputs"], shard, crosscoder.scales)
    settings = plan.step_settings(reader.d_model)
    trainer = TrainStep(crosscoder, moments, plan.batch_size, settings, last_kept)
    fired = torch.zeros(crosscoder.b_enc.shape, dtype=torch.bool, device=device)
    records: list[dict] = []
    interval = max(1, plan.steps_per_shard // LOG_LINES)
    with reader.prefetch(plan.batch_size, seed, in_order=plan.in_order, device=device) as stream:
        started = time.perf_counter()
        for _ in track(range(plan.steps_per_shard), what, unit="steps"):
            x = to_inputs(next(stream), stream.item)
            stats = take_step(trainer, x, plan, step)
            step += 1
            fired |= stats.active
            if step % interval == 0 or step == plan.steps:
                record = log_record(crosscoder.models, x, stats, fired, plan, step)
                check_finite(record, what)
                waiting = stream.wait_seconds / (time.perf_counter() - started)
                records.append(record | {"waiting_share": round(waiting, 4)})
                fired.zero_()
    crosscoder.metadata["distinct_tokens"] += first_pass(reader.kept, plan)
    return TrainingState(crosscoder, moments, step, last_kept), records


def check_finite(record: dict, what: str) -> None:
    """Raise InputError when training has diverged."""
    if not math.isfinite(record["loss"]):
        raise InputError(
            f"{what}: the loss is {record['loss']} at step {record['step']}. Lower "
            "crosscoder.learning_rate."
        )


def take_step(
    trainer: TrainStep, x: Float[torch.Tensor, "b n d_model"], plan: TrainingPlan, step: int
) -> StepStats:
    """Take one step by the plan's schedules; tests and benchmarks call it too."""
    keep = plan.topk.keep_at(step, plan.batch_size) if plan.topk else None
    return trainer.take(x, plan.beta_at(step), plan.rate_at(step), step, keep)


def log_record(
    models: list[str],
    x: Float[torch.Tensor, "b n d_model"],
    stats: StepStats,
    fired: Bool[torch.Tensor, " d_sparse"],
    plan: TrainingPlan,
    step: int,
) -> dict:
    """Return a record of the training log; the host waits for the device.

    `dead_share` is the fraction of features that did not fire since the last record.
    """
    beta = plan.beta_at(step - 1)
    reconstruction, sparsity = stats.error.sum().item(), stats.sparsity.item()
    fve = 1 - stats.error / variance(x)
    return {
        "step": step,
        "tokens": step * plan.batch_size,
        "loss": reconstruction + beta * sparsity,
        "reconstruction": reconstruction,
        "sparsity": sparsity,
        "beta": beta,
        "learning_rate": plan.rate_at(step - 1),
        **{f"fve_{m}": v for m, v in zip(models, fve.tolist(), strict=True)},
        "l0": stats.l0.item(),
        **({} if stats.threshold is None else {"threshold": stats.threshold.item()}),
        "dead_share": 1 - fired.float().mean().item(),
    }


def variance(x: Float[torch.Tensor, "b n d_model"]) -> Float[torch.Tensor, " n"]:
    """Return each model's mean squared distance of rows from their mean, for FVE."""
    return (x - x.mean(dim=0)).square().sum(dim=(0, 2)) / len(x)


def save_state(state: TrainingState, path: Path) -> None:
    """Write weights, Adam's moments and the step as one safetensors file."""
    crosscoder = state.crosscoder
    tensors = {f"{MODEL}{k}": v for k, v in crosscoder.state_dict().items()}
    for moment, matrices in zip(MOMENTS, state.moments, strict=True):
        for name, value in matrices.parameters(len(crosscoder.W_dec)).items():
            tensors[f"adam.{name}.{moment}"] = value
    if state.last_kept is not None:
        tensors[LAST_KEPT] = state.last_kept
    metadata = {"step": state.step, "crosscoder": crosscoder.metadata}
    write_tensors(path, tensors, metadata)


def load_state(path: Path, device: torch.device | str = "cpu") -> TrainingState:
    """Read a saved state, bit for bit. Raises InputError when the file cannot be loaded."""
    tensors, metadata = read_tensors(path)
    crosscoder = extract_crosscoder(tensors, metadata).to(device)
    moments = Moments.zero(crosscoder)
    for moment, matrices in zip(MOMENTS, moments, strict=True):
        for name, value in matrices.parameters(len(crosscoder.W_dec)).items():
            value.copy_(tensors[f"adam.{name}.{moment}"])
    last_kept = tensors[LAST_KEPT].to(device) if LAST_KEPT in tensors else None
    return TrainingState(crosscoder, moments, metadata["step"], last_kept)


def load_trained(path: Path) -> tuple[Crosscoder, int]:
    """Read a state's crosscoder and step. Raises InputError when the file does not load."""
    tensors, metadata = read_tensors(path)
    return extract_crosscoder(tensors, metadata), metadata["step"]


def extract_crosscoder(
    tensors: dict[str, Shaped[torch.Tensor, "..."]], metadata: dict[str, Any]
) -> Crosscoder:
    """Return the crosscoder within a state's tensors."""
    weights = {k.removeprefix(MODEL): v for k, v in tensors.items() if k.startswith(MODEL)}
    return Crosscoder.of(weights, metadata["crosscoder"])
