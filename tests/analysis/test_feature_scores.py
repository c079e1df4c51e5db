"""Readouts and scores (Eq. 11), by worked numbers."""

import pytest
import torch
from tiny_models import tiny_network

from crosslens.activations.extract import truncate
from crosslens.analysis.feature_scores import features_of, final_token, score_task
from crosslens.crosscoder.model import Crosscoder


def trio() -> Crosscoder:
    """Three models of width 1, two features; weights chosen to work by hand."""
    crosscoder = Crosscoder(3, 1, 2, metadata={"models": ["base", "sft-5", "rl-5"]})
    crosscoder.W_enc.data = torch.tensor([[[1.0, 0.0]], [[2.0, 1.0]], [[3.0, -1.0]]])
    crosscoder.b_enc.data = torch.tensor([-1.0, 0.5])
    crosscoder.scales.copy_(torch.tensor([1.0, 1.0, 2.0]))
    return crosscoder


ACTIVATIONS = torch.tensor([[[2.0], [1.0], [1.5]]])  # scaled: 2, 1, 3


@pytest.mark.parametrize(
    ("readout", "model", "expected"),
    [
        ("branch", 0, [1.0, 0.5]),  # 1 * 2 - 1, 0 * 2 + 0.5
        ("branch", 2, [8.0, 0.0]),  # 3 * 3 - 1, -3 + 0.5 < 0
        ("branch_scaled", 0, [5.0, 0.5]),  # 3 * 2 - 1
        ("branch_scaled", 2, [26.0, 0.0]),  # 3 * 9 - 1
        ("swap", 0, [11.0, 0.5]),  # (1 + 2 + 3) * 2 - 1, (0 + 1 - 1) * 2 + 0.5
        ("swap", 2, [17.0, 0.5]),  # 6 * 3 - 1
        ("joint", 2, [12.0, 0.0]),  # 2 + 2 + 9 - 1, 1 - 3 + 0.5 < 0
        ("joint", 0, [9.0, 0.0]),  # base's 2 in RL's place: 2 + 2 + 6 - 1
    ],
)
def test_readouts(readout: str, model: int, expected: list[float]) -> None:
    torch.testing.assert_close(
        features_of(trio(), ACTIVATIONS, model, readout), torch.tensor([expected])
    )


def test_score_is_the_mean_difference_of_rl_and_base() -> None:
    two = torch.cat([ACTIVATIONS, torch.zeros(1, 3, 1)])  # the second: f = (0, 0.5) in both
    table = score_task(trio(), two, "branch")
    assert table["score"].tolist() == pytest.approx([(8 - 1) / 2, (0 - 0.5) / 2])
    assert table["rl_rate"].tolist() == [0.5, 0.5]


def test_the_final_token_is_the_prompts_last() -> None:
    model = truncate(tiny_network().model, 2)
    prompts = [[5, 6, 7, 8], [9, 10], [11]]
    together = final_token(model, prompts, batch_size=2)
    for row, prompt in zip(together, prompts, strict=True):
        alone = model(input_ids=torch.tensor([prompt])).last_hidden_state[0, -1]
        torch.testing.assert_close(row, alone, atol=1e-5, rtol=1e-4)
