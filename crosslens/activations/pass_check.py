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
    """The input of a layer, raised from within a forward pass that must go no further."""

    def __init__(self, hidden: Float[torch.Tensor, "b t d"]) -> None:
        super().__init__()
        self.hidden = hidden


def check_truncated_pass(path: Path, layer: str | int) -> float:
    """Return how far a truncated model's activations are from the full model's, in units of norm.

    It is the median over `ROWS` x `TOKENS` random tokens of |x - h_L| / |h_L|, where h_L is the
    full model's `hidden_states[L]`. Weights have the dtype of the checkpoint, at most 16 bits
    unless that is float32, so memory is that of half a model. Raises InputError when the difference
    is more than rounding, or when the activations are not finite.
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
            f"{path}: the forward pass that stops after {index} layers differs from the full "
            f"model's by {difference:.2g} of its norm. The architecture "
            f"({network.config.model_type}) cannot be studied; give models of another architecture."
        )
    return difference


@torch.inference_mode()
def full_stream(
    path: Path, truncated: torch.nn.Module, layer: int, ids: Int[torch.Tensor, "b t"]
) -> Float[torch.Tensor, "b t d"]:
    """Return the full model's `hidden_states[layer]`, the input of that layer.

    The model has its complete configuration, its head and the plain attention of its architecture.
    Layers that are not reached have no memory, the others share that of the truncated model.
    Raises InputError when the two do not have the same weights.
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
            f"{path}: the weight {keys.unexpected_keys[0]} exists in a shorter model only. "
            f"Its architecture ({config.model_type}) cannot be studied; give models of another "
            "architecture."
        )

    def stop(module: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        raise AtLayer(args[0] if args else kwargs["hidden_states"])

    decoder_layers(body)[layer].register_forward_pre_hook(stop, with_kwargs=True)
    try:
        full(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    except AtLayer as reached:
        return reached.hidden
    raise InputError(f"{path}: its layer {layer} is never reached. Give another model.")
