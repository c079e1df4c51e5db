"""Train a crosscoder shard by shard; a state advances by one shard and resumes exactly.

fp32 master weights, Adam, gradient clip, a rate that falls to zero at the end and a sparsity weight
that rises at the start. The number of steps is planned from the corpus, so that the schedules are
the same however often the run is stopped. What a step does is in `kernels`.
"""

import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float

from crosslens.activations.shard_reader import ShardReader
from crosslens.crosscoder.inputs import scales_of, slots, view
from crosslens.crosscoder.kernels.parameter_matrices import StepStats
from crosslens.crosscoder.kernels.train_step import Moments, StepSettings, TrainStep
from crosslens.crosscoder.model import Crosscoder, read_tensors, write_tensors
from crosslens.io.errors import InputError
from crosslens.io.progress import track

RECORDS = 50  # lines of the training log for one shard
MODEL = "model."  # prefix of the crosscoder's tensors in a state
MOMENTS = ("exp_avg", "exp_avg_sq")  # Adam's state of one parameter


class Plan(NamedTuple):
    """What is fixed before training starts; `steps` counts all shards."""

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
    in_order: bool = True  # whether the first pass over a shard is in the order of the file

    @property
    def stepping(self) -> StepSettings:
        """What a step needs to know."""
        dtype = getattr(torch, self.dtype)
        return StepSettings(self.adam_betas, self.gradient_clip, dtype, self.path)

    @property
    def steps(self) -> int:
        """Steps over all shards."""
        return self.shards * self.steps_per_shard

    def rate(self, step: int) -> float:
        """Learning rate: constant, then linear to zero over the last `lr_decay` of all steps."""
        left = (self.steps - step) / max(1.0, self.lr_decay * self.steps)
        return self.learning_rate * min(1.0, left)

    def beta_at(self, step: int) -> float:
        """Sparsity weight: linear up to beta over the first `sparsity_warmup` of all steps."""
        return self.beta * min(1.0, (step + 1) / max(1.0, self.sparsity_warmup * self.steps))


class State(NamedTuple):
    """A crosscoder in training."""

    crosscoder: Crosscoder
    moments: Moments
    step: int


def make_plan(
    settings: dict[str, Any], *, rows: int, shards: int, seed: int, in_order: bool = True
) -> Plan:
    """The plan for `shards` shards of `rows` activations each, from the section `crosscoder`.

    All shards have as many rows (masked ones included) by construction, so that the plan is the
    same whichever shard it is made from. Raises InputError when a shard does not fill a batch.
    """
    size = settings["batch_size"]
    if rows < size:
        raise InputError(
            f"crosscoder.batch_size: {size} is more than the {rows} activations of a shard: "
            "lower it, raise corpus.tokens or use fewer activations.shards"
        )
    return Plan(
        shards=shards,
        steps_per_shard=settings["epochs"] * (rows // size),
        batch_size=size,
        beta=settings["beta"],
        learning_rate=settings["learning_rate"],
        adam_betas=tuple(settings["adam_betas"]),
        gradient_clip=settings["gradient_clip"],
        sparsity_warmup=settings["sparsity_warmup"],
        lr_decay=settings["lr_decay"],
        dtype=settings["dtype"],
        path=settings["path"],
        seed=seed,
        in_order=in_order,
    )


def first_pass(kept: int, plan: Plan) -> int:
    """Rows of a shard that training sees for the first time; later passes add less than a batch."""
    return min(plan.steps_per_shard, kept // plan.batch_size) * plan.batch_size


def start(
    models: list[str],
    reader: ShardReader,
    settings: dict[str, Any],
    plan: Plan,
    device: torch.device | str = "cpu",
    *,
    inputs: str = "activations",
) -> State:
    """A new crosscoder of some `inputs` (see there), which adopts the scales of the first shard."""
    names = slots(inputs, models)
    crosscoder = Crosscoder(
        len(names),
        reader.d_model,
        settings["d_sparse"],
        seed=plan.seed,
        decoder_norm=settings["decoder_norm"],
        metadata={
            "models": names,
            "inputs": inputs,
            "layer": reader.attribute("layer")[0],
            "corpus_hash": reader.attribute("corpus_hash")[0],
            "model_hashes": reader.attribute("model_hash"),
            "distinct_tokens": 0,
        },
    )
    crosscoder.scales.copy_(scales_of(inputs, reader, plan.batch_size))
    crosscoder.to(device)
    return State(crosscoder, Moments.zero(crosscoder), 0)


def check_same_origin(state: State, reader: ShardReader, path: Path) -> None:
    """Raise InputError when a state was trained on another corpus or on other models."""
    metadata = state.crosscoder.metadata
    hashes = [reader.attribute("corpus_hash")[0], *reader.attribute("model_hash")]
    if hashes != [metadata["corpus_hash"], *metadata["model_hashes"]]:
        raise InputError(
            f"{path}: this state was trained on another corpus or on other models than "
            f"{reader.paths[0].parent.parent} holds: delete it and run again"
        )


def advance(state: State, reader: ShardReader, plan: Plan, what: str) -> tuple[State, list[dict]]:
    """Train on one shard, read ahead; returns the new state and the records of the training log.

    `waiting_share` there is the share of the shard's time so far in which training waited for data.
    Raises InputError when the loss is no longer finite.
    """
    crosscoder, moments, step = state
    device, seed = crosscoder.scales.device, [plan.seed, step]
    shard = reader.attribute("shard")[0]
    to_inputs = view(crosscoder.metadata["inputs"], shard, crosscoder.scales)
    stepper = TrainStep(crosscoder, moments, plan.batch_size, plan.stepping)
    fired = torch.zeros(crosscoder.b_enc.shape, dtype=torch.bool, device=device)
    records: list[dict] = []
    every = max(1, plan.steps_per_shard // RECORDS)
    with reader.prefetch(plan.batch_size, seed, in_order=plan.in_order, device=device) as stream:
        started = time.perf_counter()
        for _ in track(range(plan.steps_per_shard), what, unit="steps"):
            x = to_inputs(next(stream), stream.item)
            measures = take_step(stepper, x, plan, step)
            step += 1
            fired |= measures.active
            if step % every == 0 or step == plan.steps:
                line = record(crosscoder.models, x, measures, fired, plan, step)
                check_finite(line, what)
                waited = stream.wait_seconds / (time.perf_counter() - started)
                records.append(line | {"waiting_share": round(waited, 4)})
                fired.zero_()
    crosscoder.metadata["distinct_tokens"] += first_pass(reader.kept, plan)
    return State(crosscoder, moments, step), records


def check_finite(record: dict, what: str) -> None:
    """Raise InputError when training has diverged."""
    if not math.isfinite(record["loss"]):
        raise InputError(
            f"{what}: the loss is {record['loss']} at step {record['step']}: lower "
            "crosscoder.learning_rate"
        )


def take_step(
    stepper: TrainStep, x: Float[torch.Tensor, "b n d_model"], plan: Plan, step: int
) -> StepStats:
    """One update."""
    return stepper.take(x, plan.beta_at(step), plan.rate(step), step)


def record(
    models: list[str],
    x: Float[torch.Tensor, "b n d_model"],
    measures: StepStats,
    fired: Bool[torch.Tensor, " d_sparse"],
    plan: Plan,
    step: int,
) -> dict:
    """One line of the training log, for which the host waits for the device.

    `dead_share` counts features silent since the last line.
    """
    beta = plan.beta_at(step - 1)
    reconstruction, sparsity = measures.error.sum().item(), measures.sparsity.item()
    fve = 1 - measures.error / variance(x)
    return {
        "step": step,
        "tokens": step * plan.batch_size,
        "loss": reconstruction + beta * sparsity,
        "reconstruction": reconstruction,
        "sparsity": sparsity,
        "beta": beta,
        "learning_rate": plan.rate(step - 1),
        **{f"fve_{m}": v for m, v in zip(models, fve.tolist(), strict=True)},
        "l0": measures.l0.item(),
        "dead_share": 1 - fired.float().mean().item(),
    }


def variance(x: Float[torch.Tensor, "b n d_model"]) -> Float[torch.Tensor, " n"]:
    """Mean squared distance of each model's rows from their mean, what FVE is a fraction of."""
    return (x - x.mean(dim=0)).square().sum(dim=(0, 2)) / len(x)


def save_state(state: State, path: Path) -> None:
    """Write weights, Adam's moments and the step as one safetensors file."""
    crosscoder = state.crosscoder
    tensors = {f"{MODEL}{k}": v for k, v in crosscoder.state_dict().items()}
    for moment, matrices in zip(MOMENTS, state.moments, strict=True):
        for name, value in matrices.parameters(len(crosscoder.W_dec)).items():
            tensors[f"adam.{name}.{moment}"] = value
    metadata = {"step": state.step, "crosscoder": crosscoder.metadata}
    write_tensors(path, tensors, metadata)


def load_state(path: Path, device: torch.device | str = "cpu") -> State:
    """Read a state back, bit for bit. Raises InputError when the file does not load."""
    tensors, metadata = read_tensors(path)
    crosscoder = crosscoder_of(tensors, metadata).to(device)
    moments = Moments.zero(crosscoder)
    for moment, matrices in zip(MOMENTS, moments, strict=True):
        for name, value in matrices.parameters(len(crosscoder.W_dec)).items():
            value.copy_(tensors[f"adam.{name}.{moment}"])
    return State(crosscoder, moments, metadata["step"])


def load_trained(path: Path) -> tuple[Crosscoder, int]:
    """The crosscoder of a state, and its step. Raises InputError when the file does not load."""
    tensors, metadata = read_tensors(path)
    return crosscoder_of(tensors, metadata), metadata["step"]


def crosscoder_of(tensors: dict[str, torch.Tensor], metadata: dict[str, Any]) -> Crosscoder:
    """The crosscoder within a state's tensors."""
    weights = {k.removeprefix(MODEL): v for k, v in tensors.items() if k.startswith(MODEL)}
    return Crosscoder.of(weights, metadata["crosscoder"])
