"""The activation-difference lens: what tuning adds to the mean of the residual stream.

Minder et al. 2025, "Narrow Finetuning Leaves Clearly Readable Traces in Activation Differences"
(arXiv:2510.13900): the mean over texts of h_j^T - h_j^O, at each of the first five positions j by
itself, read through the tuned model's final norm and unembedding. O is base, T a tuned model.
The paper reads base's own mean in the same way, as what a lens shows without any tuning.

Ours: each source of texts by itself; the mean over all positions that crosscoders are trained on;
and a null. In the null, O and T change places in each text with probability one half, at all of its
positions. What they differ in from text to text stays, and what they differ in everywhere cancels.
"""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer

from crosslens.analysis.logit_lens import logit_lens
from crosslens.io.records import rounded

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FIRST = 5  # positions that are read by themselves
PLACES = (*map(str, range(FIRST)), "all")
DRAWS, QUANTILE = 99, 0.95  # of the null


class Means(NamedTuple):
    """Means over texts, by source and place, in the units of the residual stream."""

    base: Float[torch.Tensor, "s p d"]
    difference: Float[torch.Tensor, "s p t d"]  # of each tuned model to base
    swapped: Float[torch.Tensor, "r s p t d"]  # the same in each draw of the null
    norm: Float[torch.Tensor, "s p"]  # of base's stream


class DifferenceSums:
    """Sums over texts by source and place, in float64; the order of the texts changes nothing.

    `scales` are a crosscoder's, which make the activations of its models what `add` takes.
    """

    def __init__(self, scales: Float[torch.Tensor, " m"], sources: int, d_model: int) -> None:
        self.scales = scales.double()
        shape, models = (sources, len(PLACES)), len(scales)
        self.count = torch.zeros(shape, dtype=torch.float64)
        self.norm = torch.zeros_like(self.count)
        self.base = self.count.new_zeros(*shape, d_model)
        self.difference = self.count.new_zeros(*shape, models - 1, d_model)
        self.swapped = self.count.new_zeros(DRAWS, *shape, models - 1, d_model)

    def add(
        self,
        x: Float[torch.Tensor, "n t m d"],
        where: Bool[torch.Tensor, "n t"],
        first: int,
        source: Integer[np.ndarray, " n"],
    ) -> None:
        """Add texts of at least FIRST tokens, numbered from `first`, each with its source.

        `x` are the models' scaled activations, base's first; `where` the positions of "all".
        """
        places = torch.eye(FIRST, x.shape[1], device=x.device).expand(len(x), -1, -1)
        places = torch.cat([places, where[:, None].to(x)], dim=1)
        of_text = torch.einsum("npt,ntmd->npmd", places, x).double() / self.scales[:, None]
        norms = torch.einsum("npt,nt->np", places, x[:, :, 0].norm(dim=-1)) / self.scales[0]
        difference = of_text[:, :, 1:] - of_text[:, :, :1]
        sources = torch.arange(len(self.count))
        member = (torch.from_numpy(source)[:, None] == sources).double()
        signs = torch.from_numpy(np.stack([draws(first + i) for i in range(len(x))])).double()
        self.count += torch.einsum("ns,np->sp", member, places.sum(dim=2).double())
        self.norm += torch.einsum("ns,np->sp", member, norms.double())
        self.base += torch.einsum("ns,npd->spd", member, of_text[:, :, 0])
        self.difference += torch.einsum("ns,npmd->spmd", member, difference)
        self.swapped += torch.einsum("nr,ns,npmd->rspmd", signs, member, difference)

    def means(self) -> Means:
        """Return the means, zero at a place without tokens."""
        count = self.count.clamp(min=1)
        base, difference = self.base / count[..., None], self.difference / count[..., None, None]
        swapped = self.swapped / count[..., None, None]
        return Means(base.float(), difference.float(), swapped.float(), (self.norm / count).float())


def draws(text: int) -> Integer[np.ndarray, " r"]:
    """Return a text's sign in each draw of the null: -1 where base and tuned change places."""
    return 2 * np.random.default_rng([text]).integers(0, 2, DRAWS) - 1


def by_chance(
    network: "PreTrainedModel", means: Means, tuned: int
) -> tuple[Float[torch.Tensor, "s p"], Float[torch.Tensor, "s p"]]:
    """Return the null's 95% quantiles for one tuned model, counted from 0: of the norm of the mean
    difference, and of the logit of the token that it raises most."""
    swapped = means.swapped[:, :, :, tuned]
    highest = torch.empty(swapped.shape[:3])
    for s, p in product(range(swapped.shape[1]), range(swapped.shape[2])):
        highest[:, s, p] = logit_lens(network, swapped[:, s, p], 1).up[:, 0]
    return swapped.norm(dim=-1).quantile(QUANTILE, dim=0), highest.quantile(QUANTILE, dim=0)


def difference_lens(
    network: "PreTrainedModel",
    means: Means,
    model: int,
    sources: Sequence[str],
    tokenizer: "PreTrainedTokenizerBase",
) -> list[dict[str, Any]]:
    """Return what one model's lens shows of its mean difference to base, by source and place.

    Model 0 is base, of which the mean itself is read, without a null. Norms are relative to the
    mean norm of base's stream at the same place; None where there is no token.
    """
    direction = means.difference[:, :, model - 1] if model else means.base
    lens = logit_lens(network, direction.flatten(0, 1))
    chance = by_chance(network, means, model - 1) if model else None
    return [
        {
            "source": source,
            "place": place,
            "norm": rounded(direction[s, p].norm() / means.norm[s, p]),
            "norm_by_chance": rounded(chance[0][s, p] / means.norm[s, p]) if chance else None,
            "logit_by_chance": rounded(chance[1][s, p]) if chance else None,
            **lens.record(s * len(PLACES) + p, tokenizer),
        }
        for (s, source), (p, place) in product(enumerate(sources), enumerate(PLACES))
    ]
