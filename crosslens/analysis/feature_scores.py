"""Read features from single models, and score them on critical samples (section 3.2, Eq. 11).

Scores are in the crosscoder's scaled activations.
"""

import pandas as pd
import torch
from jaxtyping import Float

from crosslens.activations.extract import residual_stream
from crosslens.crosscoder.model import Crosscoder
from crosslens.models.batching import batches

READOUTS = ("branch", "branch_scaled", "joint", "swap")
BASE, RL = 0, 2  # their places in the trio


@torch.no_grad()
def features_of(
    crosscoder: Crosscoder,
    activations: Float[torch.Tensor, "b n d_model"],
    model: int,
    readout: str,
) -> Float[torch.Tensor, "b d_sparse"]:
    """The features of one model at one token, from all models' activations there (unscaled).

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


def score_task(
    crosscoder: Crosscoder, activations: Float[torch.Tensor, "b n d_model"], readout: str
) -> pd.DataFrame:
    """Score_k = mean over critical samples of f_k^RL - f_k^Base (Eq. 11), and RL's firing rate.

    `activations` are the trio's at the final token of each critical sample. Columns: feature,
    score, rl_rate (share of samples, 0 to 1), readout.
    """
    rl, base = (features_of(crosscoder, activations, i, readout) for i in (RL, BASE))
    scores = (rl - base).mean(dim=0)
    table = pd.DataFrame({"feature": range(len(scores)), "score": scores.numpy()})
    return table.assign(rl_rate=(rl > 0).float().mean(dim=0).numpy(), readout=readout)


@torch.inference_mode()
def final_token(
    model: torch.nn.Module, prompts: list[list[int]], batch_size: int
) -> Float[torch.Tensor, "b d_model"]:
    """A truncated model's activation at each prompt's last token."""
    rows = []
    for batch in batches(prompts, batch_size):
        ids = torch.zeros(len(batch), max(map(len, batch)), dtype=torch.long)
        for row, prompt in zip(ids, batch, strict=True):
            row[: len(prompt)] = torch.tensor(prompt)  # padding on the right is never attended to
        x = residual_stream(model, ids.to(model.device))
        last = torch.tensor([len(prompt) - 1 for prompt in batch])
        rows.append(x[torch.arange(len(batch)), last].float().cpu())
    return torch.cat(rows)
