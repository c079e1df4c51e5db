"""Edit features in a running model: set their activations, keep the reconstruction error.

Section 7.1 of the paper: zero in RL (Tables 2, 4), 3.0 in base (Tables 3, 5).
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int

from crosslens.analysis.feature_scores import features_of
from crosslens.analysis.feature_selection import FeatureSet
from crosslens.analysis.intervals import change
from crosslens.crosscoder.model import Crosscoder
from crosslens.io.errors import InputError
from crosslens.io.progress import track
from crosslens.models.decoder import body_of, decoder_layers

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask

    from crosslens.evaluation.harness import Model

MASKING = ("attention_mask", "position_ids")
Others = Callable[..., Float[torch.Tensor, "b n d_model"]]


def edit(
    h: Float[torch.Tensor, "b d_model"],
    f: Float[torch.Tensor, "b k"],
    value: float,
    W_dec: Float[torch.Tensor, "k d_model"],
    scale: float,
) -> Float[torch.Tensor, "b d_model"]:
    """h + (value - f) W_dec / scale: only the chosen features' share of h changes, so whatever the
    crosscoder does not reconstruct stays.

    `h` is in the model's own units; `f`, `value` and W_dec are in the crosscoder's, which are
    `scale` times as large.
    """
    return h + ((value - f) @ W_dec / scale).to(h.dtype)


@contextmanager
def intervene(
    model: torch.nn.Module,
    crosscoder: Crosscoder,
    *,
    index: int,
    features: list[int],
    value: float,
    layer: int,
    readout: str,
    others: Others | None = None,
    skip_positions: int = 0,
    sink_threshold: float = float("inf"),
) -> Iterator[None]:
    """Within the context, set `features` to `value` after `layer` layers.

    At the positions that crosscoders are trained on: not at the first `skip_positions`, and not
    where the norm is above `sink_threshold` times its mean, which is sqrt(d_model) / scale (an
    attention sink: there f means nothing, and an edit would be out of all proportion).

    index: the model's place in the crosscoder. `others(input_ids, ...)` gives all models'
    activations [b, n, d_model], flattened over positions; the readout "joint" needs it. It also
    gets the attention mask and the positions, where the model was given them.
    """
    chosen = torch.tensor(features, dtype=torch.long)
    reduced = restrict(crosscoder, chosen).to(next(model.parameters()).device)
    scale, body = crosscoder.scales[index].item(), body_of(model)
    seen: dict[str, torch.Tensor] = {}

    def remember(module: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        seen.clear()
        seen["input_ids"] = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        seen.update({name: kwargs[name] for name in MASKING if kwargs.get(name) is not None})

    def hook(module: torch.nn.Module, args: tuple, kwargs: dict, output):
        h = output[0] if isinstance(output, tuple) else output
        flat = h.flatten(0, 1)
        x = (
            others(**seen)
            if readout == "joint"
            else flat.float()[:, None].expand(-1, len(crosscoder.scales), -1)
        )
        f = features_of(reduced, x, index, readout)
        new = edit(flat, f, value, reduced.W_dec[index], scale).view_as(h)
        norms = h.float().norm(dim=-1, keepdim=True) * scale / h.shape[-1] ** 0.5
        late = positions(h, kwargs.get("position_ids"))[..., None] >= skip_positions
        new = torch.where(late & (norms <= sink_threshold), new, h)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    handles = [
        body.register_forward_pre_hook(remember, with_kwargs=True),
        decoder_layers(body)[layer - 1].register_forward_hook(hook, with_kwargs=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def positions(
    h: Float[torch.Tensor, "b s d_model"], given: torch.Tensor | None
) -> Int[torch.Tensor, "_ s"]:
    """Place of each activation in its sequence: as the model was told (a cache holds the earlier
    ones), else from the start."""
    return torch.arange(h.shape[1], device=h.device)[None] if given is None else given


@torch.no_grad()
def restrict(crosscoder: Crosscoder, features: torch.Tensor) -> Crosscoder:
    """A crosscoder of only some features: the others cost time and change nothing.

    `features` are their indices, int64 [k].
    """
    n, d, _ = crosscoder.W_enc.shape
    small = Crosscoder(n, d, max(1, len(features)), metadata=crosscoder.metadata)
    small.W_enc = torch.nn.Parameter(crosscoder.W_enc[:, :, features])
    small.b_enc = torch.nn.Parameter(crosscoder.b_enc[features])
    small.W_dec = torch.nn.Parameter(crosscoder.W_dec[:, features])
    small.scales.copy_(crosscoder.scales)
    return small.requires_grad_(False)


def count_right(
    model: "Model", tasks: "dict[str, ConfigurableTask]", critical: dict[str, list[dict]]
) -> dict[str, int]:
    """How many of each task's critical samples the model gets right.

    Raises InputError when a document is not the one that was found critical.
    """
    from crosslens.evaluation.harness import run

    only = {task: [sample["doc_id"] for sample in critical[task]] for task in tasks}
    found = run(model, tasks, only=only) if tasks else {}
    for task, samples in found.items():
        wanted = {(sample["doc_id"], sample["doc_hash"]) for sample in critical[task]}
        if wanted != {(sample["doc_id"], sample["doc_hash"]) for sample in samples}:
            raise InputError(f"{task}: its documents changed since its critical samples were found")
    return {task: sum(int(sample["acc"]) for sample in found[task]) for task in tasks}


def effects(
    model: "Model",
    tasks: "dict[str, ConfigurableTask]",
    critical: dict[str, list[dict]],
    sets: list[FeatureSet],
    editing: Callable[[list[int]], AbstractContextManager],
) -> Iterator[dict]:
    """Accuracy on the critical samples before and after editing each set: one row a set and task.

    `editing(features)` is the context in which they are edited. Accuracy before is measured in the
    same way, without an edit; an empty set edits nothing and is not run again.
    """
    before = count_right(model, tasks, critical)
    for chosen in track(sets, "intervening", unit="sets"):
        after = before
        if chosen.features:
            with editing(chosen.features):
                after = count_right(model, {t: tasks[t] for t in chosen.tasks}, critical)
        for task in chosen.tasks:
            yield {
                "set": chosen.name,
                "kind": chosen.kind,
                "index": chosen.index,
                "task": task,
                "size": chosen.size,
                "n_features": len(chosen.features),
                **change(before[task], after[task], len(critical[task])),
            }
