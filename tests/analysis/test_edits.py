"""Doses and directions by worked numbers; what does not depend on the crosscoder's scale gauge."""

from typing import NamedTuple

import pytest
import torch

from crosslens.analysis.edits import (
    ZERO,
    Dose,
    Editor,
    along,
    edited_positions,
    explained,
    in_span,
    patch,
    random_directions,
    scaled,
)
from crosslens.crosscoder.model import Crosscoder


class Given(NamedTuple):
    """Activations of edited positions."""

    x: torch.Tensor
    partner: torch.Tensor | None = None

    @property
    def own(self) -> torch.Tensor:
        return self.x[:, 0]


def one_model(f: list[float], D: list[float], c: float = 1.0) -> tuple[Crosscoder, torch.Tensor]:
    """Return a crosscoder of width 2 with one feature that reads the first coordinate.

    Also return activations on which it is f / c before the gauge c: then f, with D / c written.
    """
    crosscoder = Crosscoder(3, 2, 1, metadata={})
    crosscoder.W_enc.data = torch.tensor([[[c], [0.0]]]).repeat(3, 1, 1)
    crosscoder.b_enc.data.zero_()
    crosscoder.W_dec.data = (torch.tensor([[D]]) / c).repeat(3, 1, 1)
    h = torch.tensor([[value, 0.0] for value in f])
    return crosscoder, h[:, None].expand(-1, 3, -1)


def test_setting_to_three_depends_on_the_gauge() -> None:
    """facts of the gauge: amplification becomes suppression when one feature is rescaled."""
    for c, expected in ((1.0, [[6, 8], [3, 4]]), (10.0, [[-2.1, -2.8], [-5.1, -6.8]])):
        crosscoder, x = one_model([1, 2], [3, 4], c)
        edit = Editor(crosscoder, 0, "branch").edit([0], Dose("set", 3.0), [0.0])
        torch.testing.assert_close(edit(Given(x)), torch.tensor(expected).float())


@pytest.mark.parametrize("dose", [ZERO, Dose("multiply", 2.0), Dose("clamp", 0.5)])
@pytest.mark.parametrize("readout", ["branch", "branch_scaled", "swap", "joint"])
def test_doses_in_the_features_own_unit_do_not(dose, readout) -> None:
    results = []
    for c in (1.0, 10.0):
        crosscoder, x = one_model([1, 2], [3, 4], c)
        edit = Editor(crosscoder, 0, readout).edit([0], dose, [2.0 * c])
        results.append(edit(Given(x)))
    torch.testing.assert_close(*results)
    assert results[0].any()


def test_doses_by_hand() -> None:
    crosscoder, x = one_model([1, 2], [3, 4])
    crosscoder.scales.fill_(2.0)  # f = (2, 4), and what is written is halved
    editor = Editor(crosscoder, 1, "branch")
    for dose, expected in (
        (ZERO, [[-3, -4], [-6, -8]]),
        (Dose("multiply", 1.0), [[0, 0], [0, 0]]),
        (Dose("multiply", 2.0), [[3, 4], [6, 8]]),
        (Dose("clamp", 0.5), [[1.5, 2], [-1.5, -2]]),  # half of the unit 6 is 3
        (Dose("set", 3.0), [[1.5, 2], [-1.5, -2]]),
    ):
        found = editor.edit([0], dose, [6.0])(Given(x))
        torch.testing.assert_close(found, torch.tensor(expected).float())
    assert str(Dose("clamp", 0.25)) == "clamp 0.25"


def test_no_feature_changes_nothing() -> None:
    crosscoder, x = one_model([1, 2], [3, 4])
    assert not Editor(crosscoder, 0, "branch").edit([], Dose("clamp", 1.0), [])(Given(x)).any()


def test_an_edit_of_another_size_or_direction() -> None:
    crosscoder, x = one_model([1, 2], [3, 4])
    edit = Editor(crosscoder, 0, "branch").edit([0], ZERO, [0.0])
    torch.testing.assert_close(scaled(edit, 2.0)(Given(x)), 2 * edit(Given(x)))
    turned = along(edit, torch.tensor([0.0, -7.0]))(Given(x))
    torch.testing.assert_close(turned, torch.tensor([[0.0, -5.0], [0.0, -10.0]]))


def test_a_patch_gives_the_partners_states() -> None:
    x, partner = torch.randn(4, 3, 5), torch.randn(4, 5)
    torch.testing.assert_close(x[:, 0] + patch(Given(x, partner)), partner)


def test_the_span_and_its_complement() -> None:
    vector = torch.tensor([1.0, 2.0, 3.0])
    directions = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    inside = in_span(vector, directions)
    torch.testing.assert_close(inside, torch.tensor([1.0, 2.0, 0.0]))
    assert not in_span(vector, directions[:0]).any()
    assert explained(vector, torch.tensor([-1.0, 2.0]), directions) == pytest.approx(5 / 14)
    assert explained(vector, torch.zeros(0), directions[:0]) == 0


def test_random_directions_have_the_activations_covariance() -> None:
    torch.manual_seed(0)
    x = torch.randn(500, 2) * torch.tensor([3.0, 0.5]) + 7.0
    drawn = random_directions(x, 4000, seed=1)
    torch.testing.assert_close(drawn.T.cov(), x.T.cov(), rtol=0.1, atol=0.05)
    torch.testing.assert_close(drawn, random_directions(x, 4000, seed=1))
    assert drawn.mean(dim=0).abs().max() < 0.2


def test_edited_positions() -> None:
    h = torch.ones(1, 4, 4) * torch.tensor([1.0, 1.0, 5.0, 1.0])[None, :, None]  # norms 2, 2, 10, 2
    places = torch.arange(4)[None]
    present = torch.tensor([[True, True, True, False]])
    found = edited_positions(h, places, present, scale=1.0, skip_positions=1, sink_threshold=4.0)
    assert found.tolist() == [[False, True, False, False]]
