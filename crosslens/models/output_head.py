"""Next-token logits from final hidden states, by the network's own code."""

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from transformers.modeling_outputs import BaseModelOutputWithPast

from crosslens.models.decoder import body_name, body_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class FixedOutput(BaseModelOutputWithPast):
    """A body's output with hidden states; the further fields of some architectures are None."""

    def __getattr__(self, name: str) -> None:
        return None


class FixedBody(torch.nn.Module):
    """Return given hidden states, whatever the input."""

    def __init__(self, hidden: Float[torch.Tensor, "1 n d"]) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, *args: Any, **kwargs: Any) -> FixedOutput:
        """Return the hidden states in the form of a transformers body."""
        return FixedOutput(last_hidden_state=self.hidden)


@torch.inference_mode()
def next_token_logits(
    network: "PreTrainedModel", hidden: Float[torch.Tensor, "n d"]
) -> Float[torch.Tensor, "n v"]:
    """Return the logits of a causal language model at final hidden states of any positions.

    The network itself computes them; only its body is replaced for this call. So whatever its
    architecture does to logits is included, such as Gemma's soft cap.
    """
    name, body = body_name(network), body_of(network)
    setattr(network, name, FixedBody(hidden[None]))
    try:
        ids = torch.zeros((1, len(hidden)), dtype=torch.long, device=hidden.device)
        return network(input_ids=ids, use_cache=False).logits[0]
    finally:
        setattr(network, name, body)
