"""Train a crosscoder shard by shard; a state advances by one shard and resumes exactly.

fp32 master weights, Adam, gradient clip, a rate that falls to zero at the end and a sparsity weight
that rises at the start. The number of steps is planned from the corpus, so that the schedules are
the same however often the run is stopped.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float

from crosslens.crosscoder import Crosscoder, Loss, read_tensors, write_tensors
from crosslens.errors import InputError
from crosslens.progress import track
from crosslens.shards import ShardReader

RECORDS = 50  # lines of the training log for one shard
MODEL = "model."  # prefix of the crosscoder's tensors in a state
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # Adam's state of one parameter


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
    seed: int

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
    optimizer: torch.optim.Adam
    step: int


def make_plan(settings: dict[str, Any], *, rows: int, shards: int, seed: int) -> Plan:
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
        seed=seed,
    )


def first_pass(kept: int, plan: Plan) -> int:
    """Rows of a shard that training sees for the first time; later passes add less than a batch."""
    return min(plan.steps_per_shard, kept // plan.batch_size) * plan.batch_size


def start(models: list[str], reader: ShardReader, settings: dict[str, Any], plan: Plan) -> State:
    """A new crosscoder, which adopts the scales of the first shard."""
    crosscoder = Crosscoder(
        len(models),
        reader.d_model,
        settings["d_sparse"],
        seed=plan.seed,
        decoder_norm=settings["decoder_norm"],
        metadata={
            "models": models,
            "layer": reader.attribute("layer")[0],
            "corpus_hash": reader.attribute("corpus_hash")[0],
            "model_hashes": reader.attribute("model_hash"),
            "distinct_tokens": 0,
        },
    )
    crosscoder.scales.copy_(reader.scales)
    return State(crosscoder, optimizer_for(crosscoder, plan), 0)


def check_same_origin(state: State, reader: ShardReader, path: Path) -> None:
    """Raise InputError when a state was trained on another corpus or on other models."""
    metadata = state.crosscoder.metadata
    hashes = [reader.attribute("corpus_hash")[0], *reader.attribute("model_hash")]
    if hashes != [metadata["corpus_hash"], *metadata["model_hashes"]]:
        raise InputError(
            f"{path}: this state was trained on another corpus or on other models than "
            f"{reader.paths[0].parent.parent} holds: delete it and run again"
        )


def optimizer_for(crosscoder: Crosscoder, plan: Plan) -> torch.optim.Adam:
    """Fused Adam over all parameters."""
    return torch.optim.Adam(
        crosscoder.parameters(), lr=plan.learning_rate, betas=plan.adam_betas, fused=True
    )


def advance(state: State, reader: ShardReader, plan: Plan, what: str) -> tuple[State, list[dict]]:
    """Train on one shard; returns the new state and the records of the training log.

    Raises InputError when the loss is no longer finite.
    """
    crosscoder, optimizer, step = state
    scales = crosscoder.scales[:, None]
    fired = torch.zeros(crosscoder.b_enc.shape, dtype=torch.bool)
    records: list[dict] = []
    every = max(1, plan.steps_per_shard // RECORDS)
    stream = reader.endless(plan.batch_size, seed=[plan.seed, step])
    for _ in track(range(plan.steps_per_shard), what, unit="steps"):
        x = next(stream) * scales
        loss = take_step(crosscoder, optimizer, x, plan, step)
        step += 1
        fired |= (loss.f > 0).any(dim=0)
        if step % every == 0 or step == plan.steps:
            check_finite(loss, what, step)
            records.append(record(crosscoder, x, loss, fired, plan, step))
            fired.zero_()
    crosscoder.metadata["distinct_tokens"] += first_pass(reader.kept, plan)
    return State(crosscoder, optimizer, step), records


def check_finite(loss: Loss, what: str, step: int) -> None:
    """Raise InputError when training has diverged."""
    if not loss.total.isfinite():
        raise InputError(
            f"{what}: the loss is {loss.total.item()} at step {step}: lower "
            "crosscoder.learning_rate"
        )


def take_step(
    crosscoder: Crosscoder,
    optimizer: torch.optim.Adam,
    x: Float[torch.Tensor, "b n d_model"],
    plan: Plan,
    step: int,
) -> Loss:
    """One update."""
    for group in optimizer.param_groups:
        group["lr"] = plan.rate(step)
    loss = crosscoder.loss(x, plan.beta_at(step))
    optimizer.zero_grad()
    loss.total.backward()
    torch.nn.utils.clip_grad_norm_(crosscoder.parameters(), plan.gradient_clip)
    optimizer.step()
    return loss


@torch.no_grad()
def record(
    crosscoder: Crosscoder,
    x: Float[torch.Tensor, "b n d_model"],
    loss: Loss,
    fired: Bool[torch.Tensor, " d_sparse"],
    plan: Plan,
    step: int,
) -> dict:
    """One line of the training log; `dead_share` counts features silent since the last line."""
    fve = explained(x, loss.x_hat)
    return {
        "step": step,
        "tokens": step * plan.batch_size,
        "loss": loss.total.item(),
        "reconstruction": loss.reconstruction.item(),
        "sparsity": loss.sparsity.item(),
        "beta": plan.beta_at(step - 1),
        "learning_rate": plan.rate(step - 1),
        **{f"fve_{m}": v for m, v in zip(crosscoder.models, fve.tolist(), strict=True)},
        "l0": (loss.f > 0).float().sum(dim=1).mean().item(),
        "dead_share": 1 - fired.float().mean().item(),
    }


def explained(
    x: Float[torch.Tensor, "b n d_model"], x_hat: Float[torch.Tensor, "b n d_model"]
) -> Float[torch.Tensor, " n"]:
    """FVE of each model: 1 - sum |x - x_hat|^2 / sum |x - mean(x)|^2."""
    error = (x - x_hat).square().sum(dim=(0, 2))
    return 1 - error / (x - x.mean(dim=0)).square().sum(dim=(0, 2))


def save_state(state: State, path: Path) -> None:
    """Write weights, Adam's moments and the step as one safetensors file."""
    tensors = {f"{MODEL}{k}": v for k, v in state.crosscoder.state_dict().items()}
    for name, parameter in state.crosscoder.named_parameters():
        for moment in MOMENTS:
            tensors[f"adam.{name}.{moment}"] = state.optimizer.state[parameter][moment]
    metadata = {"step": state.step, "crosscoder": state.crosscoder.metadata}
    write_tensors(path, tensors, metadata)


def load_state(path: Path, plan: Plan) -> State:
    """Read a state back, bit for bit. Raises InputError when the file does not load."""
    tensors, metadata = read_tensors(path)
    crosscoder = crosscoder_of(tensors, metadata)
    optimizer = optimizer_for(crosscoder, plan)
    for name, parameter in crosscoder.named_parameters():
        optimizer.state[parameter] = {m: tensors[f"adam.{name}.{m}"] for m in MOMENTS}
    return State(crosscoder, optimizer, metadata["step"])


def load_trained(path: Path) -> tuple[Crosscoder, int]:
    """The crosscoder of a state, and its step. Raises InputError when the file does not load."""
    tensors, metadata = read_tensors(path)
    return crosscoder_of(tensors, metadata), metadata["step"]


def crosscoder_of(tensors: dict[str, torch.Tensor], metadata: dict[str, Any]) -> Crosscoder:
    """The crosscoder within a state's tensors."""
    weights = {k.removeprefix(MODEL): v for k, v in tensors.items() if k.startswith(MODEL)}
    return Crosscoder.of(weights, metadata["crosscoder"])


class Quality(NamedTuple):
    """A crosscoder on held-out activations."""

    fve: dict[str, float]
    l0: float
    loss: float
    rate: Float[torch.Tensor, " d_sparse"]  # share of rows on which each feature fires
    rows: int


@torch.inference_mode()
def evaluate(crosscoder: Crosscoder, reader: ShardReader, batch_size: int, beta: float) -> Quality:
    """FVE against the mean of all held-out rows, L0, loss and firing rates, over every kept row."""
    n, d = len(crosscoder.models), reader.d_model
    # float64: the variance is a difference of two sums over all rows
    error, square, total = (torch.zeros(s, dtype=torch.float64) for s in ((n,), (n,), (n, d)))
    fired, loss_sum, rows = torch.zeros_like(crosscoder.b_enc), 0.0, 0
    for raw in reader.batches(batch_size, rest=True):
        x = raw * crosscoder.scales[:, None]
        loss = crosscoder.loss(x, beta)
        error += (x - loss.x_hat).square().sum(dim=(0, 2))
        square += x.square().sum(dim=(0, 2))
        total += x.sum(dim=0)
        fired += (loss.f > 0).sum(dim=0)
        loss_sum += loss.total.item() * len(x)
        rows += len(x)
    if not rows:
        raise InputError(f"{reader.paths[0]}: no row of the held-out shard is kept in every model")
    fve = 1 - error / (square - total.square().sum(dim=1) / rows)
    named = dict(zip(crosscoder.models, fve.tolist(), strict=True))
    return Quality(named, fired.sum().item() / rows, loss_sum / rows, fired / rows, rows)
