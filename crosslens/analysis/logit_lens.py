"""Which next tokens a direction of the residual stream raises and lowers: the logit lens.

At the middle layer this is the direct path to the output only; layers above may do anything else.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float, Integer

from crosslens.io.records import rounded
from crosslens.models.decoder import body_of, modules_after_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Lens(NamedTuple):
    """The tokens that directions raise most and lower most, the strongest first."""

    raised: Integer[torch.Tensor, "k count"]
    lowered: Integer[torch.Tensor, "k count"]
    up: Float[torch.Tensor, "k count"]  # logit minus the vocabulary's mean
    down: Float[torch.Tensor, "k count"]

    def record(self, direction: int, tokenizer: "PreTrainedTokenizerBase") -> dict[str, list[Any]]:
        """Return the tokens that one direction raises and lowers, as text, and by how much."""
        return {
            "raised": [tokenizer.decode([t]) for t in self.raised[direction].tolist()],
            "raised_by": [rounded(value) for value in self.up[direction]],
            "lowered": [tokenizer.decode([t]) for t in self.lowered[direction].tolist()],
            "lowered_by": [rounded(value) for value in self.down[direction]],
        }


def gain(norm: torch.nn.Module, width: int) -> Float[torch.Tensor, " d"]:
    """Return what a final norm multiplies each coordinate by, once the stream has norm sqrt(d).

    An RMS norm leaves a vector of ones as it is, but for its gain, whether that is stored as itself
    or, as in Gemma, less one.
    """
    if isinstance(norm, torch.nn.LayerNorm):
        return norm.weight.detach().float()
    weight = next(norm.parameters())
    ones = torch.ones(1, 1, width, dtype=weight.dtype, device=weight.device)
    return norm(ones)[0, 0].detach().float()


@torch.inference_mode()
def logit_lens(
    network: "PreTrainedModel", directions: Float[torch.Tensor, "k d"], count: int = 10
) -> Lens:
    """Return W_U (gain * D) for each direction D, by the model's own final norm and unembedding.

    `directions` are in the units of the model's residual stream. A LayerNorm's mean is removed.
    """
    norms = list(modules_after_layers(body_of(network)).values())
    unembedding = network.get_output_embeddings().weight
    d = directions.to(unembedding.device, torch.float32)
    if norms and isinstance(norms[-1], torch.nn.LayerNorm):
        d = d - d.mean(dim=1, keepdim=True)
    if norms:
        d = d * gain(norms[-1], d.shape[1])
    logits = (d.to(unembedding.dtype) @ unembedding.T).float()
    logits -= logits.mean(dim=1, keepdim=True)
    count = min(count, logits.shape[1])
    up, down = logits.topk(count), logits.topk(count, largest=False)
    return Lens(*(x.cpu() for x in (up.indices, down.indices, up.values, down.values)))
