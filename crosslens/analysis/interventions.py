"""Edit features in a model while it runs, in generation, in lm-eval or in a notebook."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int

from crosslens.analysis.edits import Dose, Editor, edited_positions
from crosslens.crosscoder.model import Crosscoder
from crosslens.io.errors import InputError
from crosslens.models.decoder import body_of, decoder_layers

MASKING = ("attention_mask", "position_ids")
Others = Callable[..., Float[torch.Tensor, "b n d_model"]]


class Seen(NamedTuple):
    """Activations at all positions of one forward pass: all models' as `x`, and the model's own."""

    x: Float[torch.Tensor, "p n d"]
    own: Float[torch.Tensor, "p d"]
    partner: None = None


def recorder(seen: dict[str, torch.Tensor]) -> Callable[..., None]:
    """Return a hook that keeps a forward pass's token ids, mask and positions in `seen`."""

    def record(module: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        seen.clear()
        seen["input_ids"] = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        seen.update({name: kwargs[name] for name in MASKING if kwargs.get(name) is not None})

    return record


@contextmanager
def intervene(
    model: torch.nn.Module,
    crosscoder: Crosscoder,
    *,
    index: int,
    features: Sequence[int],
    dose: Dose,
    layer: int,
    readout: str,
    units: Sequence[float] | None = None,
    others: Others | None = None,
    skip_positions: int = 1,
    sink_threshold: float = 10.0,
) -> Iterator[None]:
    """Give `features` a dose after `layer` layers, within the context.

    index: the model's index in the crosscoder. Doses of kind "clamp" need `units`. The readout
    "joint" needs `others(input_ids, ...)`, which returns all models' activations [b, n, d_model],
    flattened over positions; it also gets the attention mask and positions if the model does. As in
    the workflow, the first position and attention sinks are not edited (`edited_positions`); pass 0
    and infinity to edit everywhere.
    """
    if readout == "joint" and others is None:
        raise InputError(
            "others: missing, but the readout joint needs the activations of all models. Pass them."
        )
    read = others if readout == "joint" else None
    device, body = next(model.parameters()).device, body_of(model)
    units = [0.0] * len(features) if units is None else units
    edit = Editor(crosscoder.to(device), index, readout).edit(features, dose, units)
    edited = partial(
        edited_positions,
        scale=crosscoder.scales[index].item(),
        skip_positions=skip_positions,
        sink_threshold=sink_threshold,
    )
    seen: dict[str, torch.Tensor] = {}

    def hook(module: torch.nn.Module, args: tuple, kwargs: dict, output):
        h = output[0] if isinstance(output, tuple) else output
        flat = h.flatten(0, 1).float()
        x = repeated(flat, crosscoder) if read is None else read(**seen)
        delta = edit(Seen(x, flat)).view_as(h)
        places = positions(h, kwargs.get("position_ids")).expand(h.shape[:2])
        real = torch.ones_like(places, dtype=torch.bool)
        new = torch.where(edited(h, places, real)[..., None], h + delta.to(h.dtype), h)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    handles = [
        body.register_forward_pre_hook(recorder(seen), with_kwargs=True),
        decoder_layers(body)[layer - 1].register_forward_hook(hook, with_kwargs=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def repeated(h: Float[torch.Tensor, "p d"], crosscoder: Crosscoder) -> Float[torch.Tensor, "p n d"]:
    """Return one model's activations in every model's place, without copying them."""
    return h[:, None].expand(-1, len(crosscoder.scales), -1)


def positions(
    h: Float[torch.Tensor, "b s d_model"], given: Int[torch.Tensor, "_ s"] | None
) -> Int[torch.Tensor, "_ s"]:
    """Return each activation's position in its sequence.

    It is the model's own argument if there is one, as with a cache of earlier tokens; otherwise
    positions are counted from the start.
    """
    return torch.arange(h.shape[1], device=h.device)[None] if given is None else given
