"""Readouts and scores (Eq. 11), by worked numbers."""

import numpy as np
import pytest
import torch

from crosslens.analysis.critical_samples import CELLS
from crosslens.analysis.feature_scores import (
    READOUTS,
    Groups,
    Scores,
    dose_unit,
    features_of,
    score,
    splits_of,
)
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


def groups_of(*places: tuple[int, int, str], tasks: int = 2) -> Groups:
    """Return the groups that each question's (task, half, cell) gives."""
    task, half, cell = zip(*places, strict=True)
    cells = [CELLS.index(name) for name in cell]
    return Groups([f"t{i}" for i in range(tasks)], *map(np.array, (task, half, cells)))


def test_score_sums_differences_of_rl_and_base_by_hand() -> None:
    crosscoder = trio()
    crosscoder.W_dec.data = torch.tensor([[[1.0], [2.0]], [[1.0], [1.0]], [[3.0], [4.0]]])
    states = torch.cat([ACTIVATIONS, ACTIVATIONS, torch.zeros(1, 3, 1)])  # the last: f = (0, 0.5)
    groups = groups_of((0, 0, "won"), (1, 1, "both_right"), (0, 0, "won"))
    found = score(crosscoder, states, groups, readout="branch", unit="p99")
    won, branch = CELLS.index("won"), READOUTS.index("branch")
    assert found.gain[branch, 0, 0, won].tolist() == [7.0, -0.5]  # (8 - 1) + 0, (0 - .5) + 0
    assert found.fires[branch, 0, 0, won].tolist() == [1.0, 1.0]
    assert found.gain[branch, 1, 1, CELLS.index("both_right")].tolist() == [7.0, -0.5]
    assert found.count[0, 0, won] == 2 and found.count.sum() == 3
    assert found.total[1, 1].tolist() == [8.0, 0.0] and found.active[0, 0].tolist() == [1.0, 1.0]
    sft = [2 * 1 - 1 - 1, 1.5 - 0.5]  # f^SFT = (1, 1.5), f^base = (1, 0.5)
    assert found.sft_gain[1, 1, CELLS.index("both_right")].tolist() == sft
    assert found.contrast_square[0, 0].tolist() == [7.0**2, 1.5**2]
    assert found.norms.tolist() == [[1, 2], [1, 1], [3, 4]]


def test_dose_units_are_of_values_above_zero_in_the_split() -> None:
    f = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 0.0], [9.0, 5.0]])
    chosen = np.array([True, True, True, False])
    assert dose_unit(f, chosen, "mean_active").tolist() == [2.0, 0.0]
    assert dose_unit(f, chosen, "p99").tolist() == pytest.approx([2.98, 0.0])
    assert dose_unit(f, ~chosen, "p99").tolist() == [9.0, 5.0]
    assert dose_unit(f, np.zeros(4, dtype=bool), "p99").tolist() == [0.0, 0.0]


def test_splits_are_what_is_selected_on() -> None:
    splits = splits_of(["a", "b"])
    assert list(splits) == ["all", "A", "B", "without-a", "without-b"]
    assert splits["A"].tolist() == [[True, False], [True, False]]
    assert splits["without-a"].tolist() == [[False, False], [True, True]]
    assert list(splits_of(["a"])) == ["all", "A", "B"], "nothing is left without the only task"


def test_some_features_at_a_time_give_the_same_and_survive_writing(tmp_path, monkeypatch) -> None:
    torch.manual_seed(0)
    crosscoder = Crosscoder(3, 4, 7, decoder_norm=1.0)
    states = torch.randn(6, 3, 4)
    groups = groups_of(*[(i % 2, i // 3, "won") for i in range(6)])
    whole = score(crosscoder, states, groups, readout="swap", unit="p99")
    monkeypatch.setattr("crosslens.analysis.feature_scores.ELEMENTS", 6)
    single = score(crosscoder, states, groups, readout="swap", unit="p99")
    whole.save(tmp_path / "scores.npz")
    for a, b, c in zip(whole, single, Scores.load(tmp_path / "scores.npz"), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
        np.testing.assert_array_equal(a, c)
