"""Split a causal language model after a layer, so that its upper layers can run repeatedly."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int, Shaped

from crosslens.evaluation.token_trees import Scores, TreeBatch, score
from crosslens.io.errors import InputError
from crosslens.models.decoder import body_of, decoder_layers, layers_name, modules_after_layers
from crosslens.models.loading import load_network

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Both parts together do the same operations as the model in the same order, so that their results
# are equal (measured: to the last bit, in float32 and bfloat16) or differ by a rounding of
# bfloat16 (2^-8 of a value). An upper part that adds positions a second time is off by 77% (GPT-2).
TOLERANCE = 0.01  # of a state's norm


def tree_inputs(batch: TreeBatch, dtype: torch.dtype) -> dict[str, Any]:
    """Return mask and positions of trees; none if every row is one sequence."""
    mask = batch.mask(dtype)
    return {} if mask is None else {"attention_mask": mask, "position_ids": batch.positions}


@torch.inference_mode()
def tree_states(body: torch.nn.Module, batch: TreeBatch) -> Float[torch.Tensor, "b t d"]:
    """Return the final hidden states on trees of tokens, from a model without its head."""
    inputs = tree_inputs(batch, body.dtype)
    return body(input_ids=batch.ids, use_cache=False, **inputs).last_hidden_state


def load_split(path: Path, layer: int) -> "SplitModel":
    """Load a causal language model, split after `layer`. Raises the errors of `load_network`."""
    from crosslens.models.transformers_light import AutoModelForCausalLM

    return SplitModel(load_network(path, AutoModelForCausalLM), layer)


class SplitModel:
    """Run a model's layers up to `layer`, or those after it with the final norm and the head.

    The model must not be used otherwise: its list of layers is swapped in place, to avoid a copy.
    """

    def __init__(self, network: "PreTrainedModel", layer: int) -> None:
        self.network, self.body, self.layer = network.eval(), body_of(network), layer
        self.name, self.layers = layers_name(self.body), decoder_layers(self.body)
        self.after = modules_after_layers(self.body)
        self.device = network.device

    def use(self, layers: torch.nn.ModuleList, *, norm: bool) -> None:
        """Let the model consist of these layers, with or without the final norm."""
        setattr(self.body, self.name, layers)
        for name, module in self.after.items():
            setattr(self.body, name, module if norm else torch.nn.Identity())
        self.body.config.num_hidden_layers = len(layers)

    @torch.inference_mode()
    def check(self, ids: Int[torch.Tensor, "b t"]) -> None:
        """Raise InputError unless the two parts in sequence give the same states as the model.

        For some architectures they do not: GPT-2 adds positions to the input of either part. Each
        row of `ids` is one sequence.
        """
        split = self.final_states(self.lower_states(ids)).float()
        self.use(self.layers, norm=True)
        complete = self.body(input_ids=ids, use_cache=False).last_hidden_state.float()
        if ((split - complete).norm(dim=-1) > TOLERANCE * complete.norm(dim=-1)).any():
            raise InputError(
                f"{self.body.config.model_type}: this architecture cannot resume a forward pass "
                "after a layer. Give models of another architecture."
            )

    def states(self, batch: TreeBatch) -> Float[torch.Tensor, "b t d"]:
        """Return the residual stream after `layer` layers."""
        self.use(self.layers[: self.layer], norm=False)
        return tree_states(self.body, batch)

    @torch.inference_mode()
    def scores(self, batch: TreeBatch, states: Float[torch.Tensor, "b t d"]) -> Scores:
        """Return the log-probabilities of all choices from the states after the layer."""
        hidden = self.final_states(states, **tree_inputs(batch, states.dtype))
        return score(self.network, batch, hidden)

    @torch.inference_mode()
    def final_states(
        self, states: Float[torch.Tensor, "b t d"], **inputs: Shaped[torch.Tensor, "..."]
    ) -> Float[torch.Tensor, "b t d"]:
        """Return the normalized stream that the head reads, from the states after the layer.

        `inputs` are arguments of the body, such as attention_mask; without them, each row is one
        sequence.
        """
        self.use(self.layers[self.layer :], norm=True)
        return self.body(inputs_embeds=states, use_cache=False, **inputs).last_hidden_state

    @torch.inference_mode()
    def lower_states(self, ids: Int[torch.Tensor, "b t"]) -> Float[torch.Tensor, "b t d"]:
        """Return the residual stream after `layer` layers; each row is one sequence."""
        self.use(self.layers[: self.layer], norm=False)
        return self.body(input_ids=ids, use_cache=False).last_hidden_state
