"""Find the layers of a causal language model of any architecture, and what follows them."""

from typing import TYPE_CHECKING

import torch

from crosslens.io.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def body_name(network: "PreTrainedModel") -> str:
    """Return the attribute of a causal language model that holds its layers."""
    prefix = network.base_model_prefix
    return prefix if hasattr(network, prefix) else "model"  # Gemma 3's prefix is of its other form


def body_of(network: "PreTrainedModel") -> torch.nn.Module:
    """Return a causal language model without its output head."""
    return getattr(network, body_name(network))


def layers_name(body: torch.nn.Module) -> str:
    """Return the attribute of a body that is the list of its decoder layers.

    Raises InputError when there is not exactly one list of `num_hidden_layers` modules.
    """
    lists = [
        name
        for name, child in body.named_children()
        if isinstance(child, torch.nn.ModuleList) and len(child) == body.config.num_hidden_layers
    ]
    if len(lists) != 1:
        raise InputError(
            f"{body.config.model_type}: the decoder layers of this architecture cannot be found. "
            "Give models of another architecture."
        )
    return lists[0]


def decoder_layers(body: torch.nn.Module) -> torch.nn.ModuleList:
    """Return the decoder layers of a body. Raises InputError when they cannot be found."""
    return getattr(body, layers_name(body))


def modules_after_layers(body: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Return name -> module for modules with parameters after the layers: the final norm."""
    children = list(body.named_children())
    after = children[[child for child, _ in children].index(layers_name(body)) + 1 :]
    return {name: module for name, module in after if any(True for _ in module.parameters())}


def truncate(body: torch.nn.Module, layer: int) -> torch.nn.Module:
    """Remove, in place, the layers from `layer` on and the final norm; return the body.

    The final norm is the module with parameters after the list of layers. Raises InputError when
    the layers cannot be found.
    """
    name, after = layers_name(body), modules_after_layers(body)
    setattr(body, name, getattr(body, name)[:layer])
    body.config.num_hidden_layers = layer
    for child in after:
        setattr(body, child, torch.nn.Identity())
    return body.eval()
