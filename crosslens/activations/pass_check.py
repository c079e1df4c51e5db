"""Compare a truncated forward pass with that of the full model, on one short batch."""

from pathlib import Path

import torch
from jaxtyping import Float, Int

from crosslens.activations.extract import load_truncated, residual_stream
from crosslens.io.errors import InputError
from crosslens.models.decoder import body_of, decoder_layers
from crosslens.models.loading import load_config

ROWS, TOKENS = 2, 16
# Of the norm, in the median token. The faults that were measured on whole models are 0.18 and more:
# another base of the rotary positions (0.18), a final norm that stayed (39).
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.05}


class AtLayer(Exception):  # noqa: N818
    """Carry a layer's input out of a forward pass, and so stop the pass there."""

    def __init__(self, hidden: Float[torch.Tensor, "b t d"]) -> None:
        super().__init__()
        self.hidden = hidden


def check_truncated_pass(path: Path, layer: str | int) -> float:
    """Return the relative error of a truncated model's activations against the full model's.

    The error is the median of |x - h_L| / |h_L| over `ROWS` x `TOKENS` random tokens, where h_L is
    the full model's `hidden_states[L]`. Raises InputError when the error exceeds rounding, or when
    activations are not finite. Only the layers up to L are in memory, in the checkpoint's dtype.
    """
    stored = load_config(path).dtype
    dtype = torch.float32 if stored in (None, torch.float32) else torch.bfloat16
    network, index = load_truncated(path, layer, dtype)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(network.config.vocab_size, (ROWS, TOKENS), generator=generator)
    x = residual_stream(network, ids.to(network.device))
    expected = full_stream(path, network, index, ids.to(network.device))
    error = (x.float() - expected.float()).norm(dim=-1) / expected.float().norm(dim=-1)
    difference = error.median().item()
    if not difference <= TOLERANCE[dtype]:  # NaN too
        raise InputError(
            f"{path}: stopping the forward pass after {index} layers changes the activations by "
            f"{difference:.2g} of their norm, so the architecture ({network.config.model_type}) "
            "cannot be studied. Give models of another architecture."
        )
    return difference


@torch.inference_mode()
def full_stream(
    path: Path, truncated: torch.nn.Module, layer: int, ids: Int[torch.Tensor, "b t"]
) -> Float[torch.Tensor, "b t d"]:
    """Return the full model's `hidden_states[layer]`, the input of that layer.

    The model has its complete configuration, its head, and its architecture's plain attention. The
    layers up to `layer` share the memory of the truncated model; the others are not allocated.
    Raises InputError when the weights of the two models do not match.
    """
    from accelerate import init_empty_weights

    from crosslens.models.transformers_light import AutoModelForCausalLM

    config = load_config(path)
    with init_empty_weights():
        full = AutoModelForCausalLM.from_config(
            config, dtype=truncated.dtype, attn_implementation="eager"
        ).eval()
    body = body_of(full)
    keys = body.load_state_dict(truncated.state_dict(), strict=False, assign=True)
    if keys.unexpected_keys:
        raise InputError(
            f"{path}: the weight {keys.unexpected_keys[0]} appears only when the model is "
            f"truncated, so the architecture ({config.model_type}) cannot be studied. Give models "
            "of another architecture."
        )

    def stop(module: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        raise AtLayer(args[0] if args else kwargs["hidden_states"])

    decoder_layers(body)[layer].register_forward_pre_hook(stop, with_kwargs=True)
    try:
        full(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    except AtLayer as reached:
        return reached.hidden
    raise InputError(
        f"{path}: its forward pass never reaches layer {layer}. Give a model of another "
        "architecture."
    )
