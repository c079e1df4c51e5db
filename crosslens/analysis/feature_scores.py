"""Read features from single models at the final token, and score them (section 3.2, Eq. 11).

f_k is defined up to a scale: W_enc,k -> c W_enc,k, b_k -> c b_k, D_k -> D_k / c changes neither the
reconstruction nor the loss, but multiplies the paper's score of feature k by c. A *contribution*
f_k |D_k| does not change; nor does a dose in multiples of the feature's own values in RL.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from crosslens.analysis.critical_samples import CELLS, HALVES
from crosslens.crosscoder.model import Crosscoder
from crosslens.io.records import write_arrays

READOUTS = ("branch", "branch_scaled", "joint", "swap")
BASE, SFT, RL = 0, 1, 2  # their places in the trio
ELEMENTS = 4_000_000  # values held at once of one model and readout; nanquantile takes 16 million


@torch.no_grad()
def features_of(
    crosscoder: Crosscoder,
    activations: Float[torch.Tensor, "b n d_model"],
    model: int,
    readout: str,
) -> Float[torch.Tensor, "b d_sparse"]:
    """Return the features of one model at one token, from all models' unscaled activations there.

    With x^j = s_j a^j and i the model:
    branch         ReLU(W_enc^i x^i + b_enc), the paper's; b_enc was trained for the sum over models
    branch_scaled  ReLU(n W_enc^i x^i + b_enc)
    swap           ReLU(sum_j W_enc^j x^i + b_enc): as if all models were this one
    joint          ReLU(sum_j W_enc^j x^j + b_enc), with base's x in RL's place when i is not RL
    """
    x = activations * crosscoder.scales[:, None]
    if readout == "branch":
        return crosscoder.encode_branch(x[:, model], model)
    if readout == "branch_scaled":
        return crosscoder.encode_branch(len(crosscoder.scales) * x[:, model], model)
    if readout == "swap":
        return crosscoder.encode(x[:, model, None].expand_as(x).contiguous())
    if model != RL:
        x = torch.cat([x[:, :RL], x[:, BASE, None], x[:, RL + 1 :]], dim=1)
    return crosscoder.encode(x)


class Groups(NamedTuple):
    """Where each question belongs: indices of its task, its half and its cell."""

    tasks: list[str]
    task: Int[np.ndarray, " q"]
    half: Int[np.ndarray, " q"]
    cell: Int[np.ndarray, " q"]

    def flat(self) -> Int[np.ndarray, " q"]:
        """Return one index for task, half and cell."""
        return np.ravel_multi_index((self.task, self.half, self.cell), self.shape())

    def shape(self) -> tuple[int, int, int]:
        """Return the numbers of tasks, halves and cells."""
        return len(self.tasks), len(HALVES), len(CELLS)


def splits_of(tasks: Sequence[str]) -> dict[str, Bool[np.ndarray, "task half"]]:
    """Return the tasks and halves that features are selected on, by name of the split.

    The splits are "all"; "A" and "B", one half of every task; and, with more than one task,
    "without-TASK", which is all other tasks.
    """
    every = np.ones((len(tasks), len(HALVES)), dtype=bool)
    splits = {"all": every}
    for i, half in enumerate(HALVES):
        splits[half] = every & (np.arange(len(HALVES)) == i)
    for i, task in enumerate(tasks if len(tasks) > 1 else ()):
        splits[f"without-{task}"] = every & (np.arange(len(tasks)) != i)[:, None]
    return splits


class Scores(NamedTuple):
    """Sums over questions at the final token, from which all scores, rates and doses follow.

    Axes: readout (as READOUTS), task, half, cell (as CELLS), feature. Features are in the
    crosscoder's units. `gain` sums f^RL - f^base; `sft_gain` f^SFT - f^base, and `contrast_square`
    (f^RL - f^SFT)^2 over critical samples; `active` counts f^RL > 0 and `total` sums f^RL, all by
    the main readout. `units` and `sft_units` hold the dose units of each split, by f^RL and f^SFT,
    `norms` the L2 norms of W_dec.
    """

    gain: Float[np.ndarray, "r t h c k"]
    fires: Float[np.ndarray, "r t h c k"]
    sft_gain: Float[np.ndarray, "t h c k"]
    contrast_square: Float[np.ndarray, "t h k"]
    active: Float[np.ndarray, "t h k"]
    total: Float[np.ndarray, "t h k"]
    count: Int[np.ndarray, "t h c"]
    units: Float[np.ndarray, "s k"]
    sft_units: Float[np.ndarray, "s k"]
    norms: Float[np.ndarray, "n k"]

    def save(self, path: Path) -> None:
        """Write all arrays to one file."""
        write_arrays(path, self._asdict())

    @classmethod
    def load(cls, path: Path) -> "Scores":
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            return cls(**{name: arrays[name] for name in cls._fields})


@torch.no_grad()
def score(
    crosscoder: Crosscoder,
    states: Float[torch.Tensor, "q n d_model"],
    groups: Groups,
    *,
    readout: str,
    unit: str,
) -> Scores:
    """Score every feature on all questions, some features at a time.

    `states` are the models' unscaled activations at each question's final token, `readout` is the
    main one.
    """
    parts = []
    masks = [mask[groups.task, groups.half] for mask in splits_of(groups.tasks).values()]
    chunk = max(1, ELEMENTS // max(1, len(states)))
    for features in torch.arange(crosscoder.W_enc.shape[-1]).split(chunk):
        small = crosscoder.restricted(features)
        f = {
            name: torch.stack([features_of(small, states, i, name) for i in range(states.shape[1])])
            for name in READOUTS
        }
        units = {
            name: torch.stack([dose_unit(f[readout][model], mask, unit) for mask in masks])
            for name, model in (("units", RL), ("sft_units", SFT))
        }
        parts.append(sums(f, groups, readout) | {k: v.cpu().numpy() for k, v in units.items()})
    joined = {name: np.concatenate([p[name] for p in parts], axis=-1) for name in parts[0]}
    count = np.bincount(groups.flat(), minlength=np.prod(groups.shape())).reshape(groups.shape())
    return Scores(**joined, count=count, norms=crosscoder.W_dec.norm(dim=-1).cpu().numpy())


def sums(
    f: Mapping[str, Float[torch.Tensor, "n q k"]],
    groups: Groups,
    readout: str,
) -> dict[str, Float[np.ndarray, "..."]]:
    """Return the sums of `Scores` for some features, from each readout's features."""
    shape = groups.shape()
    device = f[readout].device
    member = torch.nn.functional.one_hot(torch.from_numpy(groups.flat()), int(np.prod(shape)))
    member = member.T.float().to(device)

    def total(values: Float[torch.Tensor, "q k"]) -> Float[np.ndarray, "t h c k"]:
        return (member @ values).cpu().numpy().reshape(*shape, -1)

    main = f[readout]
    square = total((main[RL] - main[SFT]).square())
    return {
        "gain": np.stack([total(f[name][RL] - f[name][BASE]) for name in READOUTS]),
        "fires": np.stack([total((f[name][RL] > 0).float()) for name in READOUTS]),
        "sft_gain": total(main[SFT] - main[BASE]),
        "contrast_square": square[:, :, CELLS.index("won")],
        "active": total((main[RL] > 0).float()).sum(axis=2),
        "total": total(main[RL]).sum(axis=2),
    }


def dose_unit(
    f: Float[torch.Tensor, "q k"], chosen: Bool[np.ndarray, " q"], unit: str
) -> Float[torch.Tensor, " k"]:
    """Return each feature's dose unit over some questions; 0 for a feature that never fires.

    The unit is the 99th percentile (p99) or the mean (mean_active) of the values above 0.
    """
    values = f[torch.from_numpy(chosen).to(f.device)]
    values = torch.where(values > 0, values, torch.nan)
    if unit == "p99":
        units = torch.nanquantile(values, 0.99, dim=0) if len(values) else values.sum(dim=0)
    else:
        units = values.nanmean(dim=0)
    return units.nan_to_num(nan=0.0)
