"""What the reconstruction does in a model: cross-entropy and KL where it replaces the stream.

A crosscoder may explain most of the variance and still lose what a model computes with. Here the
residual stream is replaced by its reconstruction, and the layers above run on. Loss is recovered
against two references: a stream of zeros, and one of the model's own mean. Intervals are over
texts: tokens of one text are not independent.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int, Integer

from crosslens.analysis.contexts import trained_positions
from crosslens.analysis.feature_scores import features_of
from crosslens.analysis.significance import cluster_weights
from crosslens.crosscoder.model import Crosscoder
from crosslens.evaluation.split_model import SplitModel
from crosslens.io.progress import track
from crosslens.models.batching import batches
from crosslens.models.output_head import next_token_logits

CODES = ("joint", "branch", "swap")  # readouts of crosslens.analysis.feature_scores
REFERENCES = ("zero", "mean")
CHUNK = 1024  # positions whose features or logits are held at once
DRAWS = 1000  # of the bootstrap over texts
COLUMNS = [
    *("model", "spliced", "cross_entropy", "change", "change_low", "change_high"),
    *("kl", "agreement", "recovered_zero", "recovered_mean", "fve"),
]


class Losses(NamedTuple):
    """Means over the predicted tokens of each text."""

    cross_entropy: Float[np.ndarray, " texts"]  # nats
    kl: Float[np.ndarray, " texts"]  # nats: of the model's own prediction to that with the splice
    agreement: Float[np.ndarray, " texts"]  # fraction whose most likely token stays the same


@torch.inference_mode()
def reconstruction(
    crosscoder: Crosscoder, states: Float[torch.Tensor, "b n d"], model: int, code: str
) -> Float[torch.Tensor, "b d"]:
    """Return one model's states as the crosscoder decodes them, in the model's own units.

    `states` are all models' unscaled states. The joint code is of all models' own states.
    """
    decoded = []
    for part in states.split(CHUNK):
        if code == "joint":
            f = crosscoder.encode(part * crosscoder.scales[:, None])
        else:
            f = features_of(crosscoder, part, model, code)
        decoded.append(f @ crosscoder.W_dec[model] + crosscoder.b_dec[model])
    return torch.cat(decoded) / crosscoder.scales[model] if decoded else states[:, model]


def all_states(
    crosscoder: Crosscoder, lower: Sequence[Sequence[Float[torch.Tensor, "_ t d"]]], batch: int
) -> Float[torch.Tensor, "b t n d"]:
    """Return all models' states in one batch, in float32 on the crosscoder's device.

    `lower` has the states by model, then batch.
    """
    parts = [states[batch].to(crosscoder.W_dec.device, torch.float32) for states in lower]
    return torch.stack(parts, dim=2)


class SpliceSums:
    """One model's losses on every text with each splice, and sums of squared errors."""

    def __init__(self, crosscoder: Crosscoder, model: int, mean: Float[torch.Tensor, " d"]) -> None:
        self.crosscoder, self.model, self.mean = crosscoder, model, mean
        self.losses: dict[str, list[Float[np.ndarray, "b 3"]]] = {
            name: [] for name in ("none", *REFERENCES, *CODES)
        }
        self.errors = dict.fromkeys(CODES, 0.0)
        self.variance = 0.0

    @torch.inference_mode()
    def add(
        self,
        split: SplitModel,
        ids: Int[torch.Tensor, "b t"],
        states: Float[torch.Tensor, "b t n d"],
        where: Bool[torch.Tensor, "b t"],
        skip: int,
    ) -> None:
        """Add a batch of texts, spliced at the positions `where`; the others stay as they are.

        `states` are all models' streams on the crosscoder's device, in float32. Predictions count
        from position `skip` on, whatever is spliced.
        """
        own, rest = states[:, :, self.model], states[where]
        target = ids[:, skip + 1 :].flatten().to(split.device)
        hidden = {}
        for name, values in self.splices(rest).items():
            stream = own.clone()
            stream[where] = values
            final = split.final_states(stream.to(split.device, split.body.dtype))
            hidden[name] = final[:, skip:-1].flatten(0, 1)
        for name, losses in text_losses(split, hidden, target, len(ids)).items():
            self.losses[name].append(losses)

    def splices(self, rest: Float[torch.Tensor, "p n d"]) -> dict[str, Float[torch.Tensor, "p d"]]:
        """Return what takes the place of the model's states, its own first; add up the errors."""
        truth = rest[:, self.model]
        self.variance += (truth - self.mean).square().sum().item()
        spliced = {"none": truth, "zero": torch.zeros_like(truth)}
        spliced["mean"] = self.mean.expand_as(truth)
        for code in CODES:
            spliced[code] = reconstruction(self.crosscoder, rest, self.model, code)
            self.errors[code] += (truth - spliced[code]).square().sum().item()
        return spliced

    def of(self, name: str) -> Losses:
        """Return the losses of every text with one splice; all have as many predictions."""
        return Losses(*np.concatenate(self.losses[name]).T)

    def table(self) -> pd.DataFrame:
        """Return a row for each splice; NaN where there is nothing to recover or explain.

        `change` is that of the cross-entropy, with its 95% interval over texts.
        """
        own = self.of("none").cross_entropy
        lost = [(self.of(name).cross_entropy - own).mean() for name in REFERENCES]
        rows = []
        for name in self.losses:
            losses = self.of(name)
            change = losses.cross_entropy - own
            cross_entropy, kl, agreement = (values.mean() for values in losses)
            recovered = [1 - change.mean() / loss if loss > 0 else np.nan for loss in lost]
            known = name in CODES and self.variance > 0
            fve = 1 - self.errors[name] / self.variance if known else np.nan
            numbers = [cross_entropy, change.mean(), *interval(change), kl, agreement]
            model = self.crosscoder.models[self.model]
            rows.append([model, name, *numbers, *recovered, fve])
        return pd.DataFrame(rows, columns=COLUMNS)


def interval(values: Float[np.ndarray, " texts"]) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the mean over texts; NaN for a single text."""
    count = len(values)
    if count < 2:
        return np.nan, np.nan
    one_stratum = np.zeros(count, dtype=int)
    rng = np.random.default_rng(0)
    weights = cluster_weights(np.arange(count), one_stratum, DRAWS, rng)
    low, high = np.quantile(weights @ values / count, [0.025, 0.975])
    return float(low), float(high)


def text_losses(
    split: SplitModel,
    hidden: dict[str, Float[torch.Tensor, "p d"]],
    target: Int[torch.Tensor, " p"],
    texts: int,
) -> dict[str, Float[np.ndarray, "b 3"]]:
    """Return the numbers of `Losses` of each text, by splice; `hidden` has the texts in a row."""
    parts: dict[str, list[Float[torch.Tensor, "c 3"]]] = {name: [] for name in hidden}
    for start in range(0, len(target), CHUNK):
        part = slice(start, start + CHUNK)
        own = log_predictions(split, hidden["none"][part])
        for name, states in hidden.items():
            log_p = own if name == "none" else log_predictions(split, states[part])
            parts[name].append(token_losses(log_p, own, target[part]))
    length = len(target) // texts
    return {
        name: torch.cat(losses).double().reshape(texts, length, 3).mean(dim=1).cpu().numpy()
        for name, losses in parts.items()
    }


def token_losses(
    log_p: Float[torch.Tensor, "c v"],
    own: Float[torch.Tensor, "c v"],
    target: Int[torch.Tensor, " c"],
) -> Float[torch.Tensor, "c 3"]:
    """Return the numbers of `Losses` of each token; `own` is the model without a splice."""
    cross_entropy = -log_p.gather(1, target[:, None])[:, 0]
    kl = (own.exp() * (own - log_p)).sum(dim=1)
    same = (log_p.argmax(dim=1) == own.argmax(dim=1)).float()
    return torch.stack([cross_entropy, kl, same], dim=1)


def log_predictions(
    split: SplitModel, hidden: Float[torch.Tensor, "p d"]
) -> Float[torch.Tensor, "p v"]:
    """Return the log-probabilities of the next token."""
    return next_token_logits(split.network, hidden).float().log_softmax(dim=-1)


@torch.inference_mode()
def measure_splice(
    crosscoder: Crosscoder,
    load: Callable[[int], SplitModel],
    rows: Integer[np.ndarray, "n t"],
    *,
    batch_size: int,
    skip_positions: int,
    sink_threshold: float,
) -> pd.DataFrame:
    """Return the losses of every model with every splice on some texts, one per row.

    `load` returns one of the crosscoder's models, cut after its layer. Only one is there at a time:
    each is loaded for the states of its lower layers, and again for its upper layers. Positions
    that crosscoders are not trained on are not spliced. Raises InputError for an architecture that
    cannot continue from the states after a layer.
    """
    texts = [torch.from_numpy(group.astype(np.int64)) for group in batches(rows, batch_size)]
    lower = [lower_states(load(i), texts) for i in range(len(crosscoder.models))]
    read = Texts(crosscoder, texts, lower, skip_positions, sink_threshold)
    return pd.concat(
        [read.losses(i, load(i)).table() for i in range(len(lower))], ignore_index=True
    )


def lower_states(
    split: SplitModel, texts: Sequence[Int[torch.Tensor, "_ t"]]
) -> list[Float[torch.Tensor, "_ t d"]]:
    """Return the states after the layer of each batch of texts, kept in the CPU's memory."""
    split.check(texts[0].to(split.device))
    shown = track(texts, "lower layers", unit="batches")
    return [split.lower_states(ids.to(split.device)).cpu() for ids in shown]


class Texts(NamedTuple):
    """Texts with the states of all models of a crosscoder, by batch."""

    crosscoder: Crosscoder
    ids: list[Int[torch.Tensor, "_ t"]]
    lower: list[list[Float[torch.Tensor, "_ t d"]]]  # by model, then batch
    skip_positions: int
    sink_threshold: float

    def states(
        self, batch: int
    ) -> tuple[Float[torch.Tensor, "b t n d"], Bool[torch.Tensor, "b t"]]:
        """Return all models' states, and where the reconstruction may stand for them."""
        states = all_states(self.crosscoder, self.lower, batch)
        where = trained_positions(
            states * self.crosscoder.scales[:, None],
            skip_positions=self.skip_positions,
            sink_threshold=self.sink_threshold,
        )
        return states, where

    def mean(self, model: int) -> Float[torch.Tensor, " d"]:
        """Return a model's mean state."""
        device = self.crosscoder.W_dec.device
        total, count = torch.zeros(self.crosscoder.W_dec.shape[-1], device=device), 0
        for batch in range(len(self.ids)):
            states, where = self.states(batch)
            total += states[where][:, model].sum(dim=0)
            count += int(where.sum())
        return total / max(1, count)

    def losses(self, model: int, split: SplitModel) -> SpliceSums:
        """Run one model's upper layers on every splice."""
        sums = SpliceSums(self.crosscoder, model, self.mean(model))
        shown = track(self.ids, f"splices in {self.crosscoder.models[model]}", unit="batches")
        for batch, ids in enumerate(shown):
            sums.add(split, ids, *self.states(batch), self.skip_positions)
        return sums
