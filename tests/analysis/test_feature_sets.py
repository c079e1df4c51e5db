"""Sets selected on splits, their controls and doses; nothing depends on the scale gauge."""

import json

import numpy as np
import pytest
import torch
from planted import (
    AMPLIFY,
    AXES,
    EXTENT,
    FEATURES,
    HELD_OUT,
    MODELS,
    RAISED,
    TASKS,
    PlantedModel,
    benchmark_of,
    chosen_of,
    edited_model,
    make_world,
    scores_of,
)

from crosslens.analysis.arms import arms
from crosslens.analysis.controls import PRIMARY
from crosslens.analysis.critical_samples import CELLS
from crosslens.analysis.edits import Dose
from crosslens.analysis.evidence import feature_numbers
from crosslens.analysis.feature_scores import Scores, splits_of
from crosslens.analysis.feature_sets import (
    Choice,
    Counts,
    cell_overlap,
    feature_sets,
    rl_less_sft,
    traits_of,
)
from crosslens.crosscoder.model import Crosscoder

CHOICE = Choice("contribution", "branch", threshold=0.2, active_rate=0.1, least=RAISED)
WON = CELLS.index("won")


@pytest.fixture(scope="module")
def world():
    return make_world("cause", seed=0)


@pytest.fixture(scope="module")
def benchmark(world):
    return benchmark_of(world, {name: edited_model(world, name) for name in ("base", "rl")})


@pytest.fixture(scope="module")
def scores(world, benchmark) -> Scores:
    return scores_of(world, benchmark)


def select(
    scores: Scores,
    counts: Counts = Counts(19, 5, 2),  # noqa: B008
    alive=None,
    least: int = RAISED,
) -> dict:
    alive = np.ones(FEATURES, dtype=bool) if alive is None else alive
    choice = CHOICE._replace(least=least)
    return feature_sets(scores, TASKS, alive, choice, counts, seed=3)


def test_what_rl_raises_is_selected_on_every_split(scores) -> None:
    found = select(scores)
    assert set(found["protocol"]) == {"all", "A", "B", *(f"without-{t}" for t in TASKS)}
    for split in found["protocol"].values():
        assert split[PRIMARY] == split["intersection"] == list(range(RAISED))
    assert found["intersection"] == list(range(RAISED)) and found["stability"] == 1.0
    assert set(found["readouts"]) == {"branch", "branch_scaled", "joint", "swap"}
    json.dumps(found, allow_nan=False)


def test_controls_are_as_many_as_asked_and_no_selected_feature(scores) -> None:
    splits = select(scores)["protocol"]
    for name, split in splits.items():
        sets, matching = split["controls"][PRIMARY], split["matching"][PRIMARY]
        assert len(sets) == matching["sets"] == (5 if "-" in name else 19)
        used = {k for features in sets for k in features}
        assert matching["features"] == len(used) >= RAISED
        assert not used & set(range(RAISED)) and used <= {int(k) for k in split["units"]}
    alive = np.arange(FEATURES) < 30
    limited = select(scores, alive=alive)["protocol"]["all"]["controls"][PRIMARY]
    assert {k for features in limited for k in features} <= set(range(RAISED, 30))


def raised(scores: Scores, feature: int, tasks: slice, share: float) -> Scores:
    """Return scores where RL raises one more feature in some tasks, by a share of feature 0."""
    gain = scores.gain.copy()
    gain[:, tasks, :, :, feature] = share * gain[:, tasks, :, :, 0]
    return scores._replace(gain=gain)


def test_a_set_is_topped_up_beside_the_papers_own(scores) -> None:
    """Features 7 and 9 are raised in all tasks, by less than the threshold."""
    more = raised(raised(scores, 7, slice(None), 0.1), 9, slice(None), 0.15)
    papers = select(more)
    for least, added in ((0, []), (4, [9]), (5, [7, 9]), (9, [7, 9])):
        found = select(more, least=least)
        for split in found["protocol"].values():
            assert split[PRIMARY] == [*range(RAISED), *added] == list(map(int, split["scores"]))
            assert split["intersection"] == list(range(RAISED))
            assert {len(drawn) for drawn in split["controls"][PRIMARY]} == {RAISED + len(added)}
        assert {k: found[k] for k in ("tasks", "intersection", "majority", "controls")} == {
            k: papers[k] for k in ("tasks", "intersection", "majority", "controls")
        }, "the paper's sets know nothing of it"
    numbers = feature_numbers(select(more, least=5))["protocol"]["A"]
    assert (numbers["intersection"], numbers[PRIMARY]) == (RAISED, RAISED + 2)


def test_controls_leave_out_the_set_only(scores) -> None:
    """Feature 20 is selected in one task: it may carry a part of the effect, and is a control."""
    found = select(raised(scores, 20, slice(0, 1), 1.0), Counts(99, 5, 2))
    split = found["protocol"]["all"]
    assert 20 in split["tasks"]["t0"]["selected"] and 20 not in split[PRIMARY]
    used = {k for features in split["controls"][PRIMARY] for k in features}
    assert 20 in used and not used & set(split[PRIMARY])
    assert 20 not in {k for draws in found["controls"].values() for draw in draws for k in draw}


def test_a_half_knows_nothing_of_the_other(scores) -> None:
    changed = scores.gain.copy()
    changed[:, :, 1] = np.random.default_rng(0).normal(size=changed[:, :, 1].shape) * 1e3
    before, after = (select(s)["protocol"] for s in (scores, scores._replace(gain=changed)))
    compared = [found["A"].pop("rl_less_sft") for found in (before, after)]
    assert before["A"] == after["A"] and before["B"] != after["B"]
    assert compared[0] != compared[1], "RL is compared with SFT on the other half"


def test_a_task_left_out_decides_nothing(scores) -> None:
    changed = scores.gain.copy()
    changed[:, 0] = 1e3 * np.arange(FEATURES)
    before, after = (select(s)["protocol"] for s in (scores, scores._replace(gain=changed)))
    for found in (before, after):
        found["without-t0"].pop("rl_less_sft")
    assert before["without-t0"] == after["without-t0"]
    assert before["without-t1"] != after["without-t1"]


def test_a_single_task_has_sets_but_none_without_it(scores) -> None:
    """The arms that leave a task out are missing; the others run."""
    axes = {"gain": 1, "fires": 1} | dict.fromkeys(
        ("sft_gain", "contrast_square", "active", "total", "count"), 0
    )
    one = {name: getattr(scores, name).take([0], axis=axis) for name, axis in axes.items()}
    alone = scores._replace(**one, units=scores.units[:3], sft_units=scores.sft_units[:3])
    alive = np.ones(FEATURES, dtype=bool)
    found = feature_sets(alone, TASKS[:1], alive, CHOICE, Counts(5, 5, 2), seed=3)
    assert list(found["protocol"]) == ["all", "A", "B"]
    assert found["intersection"] == list(range(RAISED)) and found["overlap"] == []
    doses = {"dose": AMPLIFY, "paper_dose": Dose("set", 3.0)}
    designs = {arm.design for arm in arms(found, TASKS[:1], HELD_OUT, **doses, extent=EXTENT)}
    assert designs == {"protocol", "everywhere", "paper"}


@pytest.mark.parametrize("base", [2.0, 10.0])
def test_rescaling_features_changes_no_set_control_score_or_dose(world, benchmark, base) -> None:
    factors = base ** torch.randint(-3, 4, (FEATURES,), generator=torch.Generator().manual_seed(0))
    same = Crosscoder.of({k: v.clone() for k, v in world.crosscoder.state_dict().items()}, {})
    same.W_enc.data *= factors
    same.b_enc.data *= factors
    same.W_dec.data /= factors[:, None]
    one = chosen_of(world, benchmark, controls=19)["protocol"]
    other = chosen_of(world._replace(crosscoder=same), benchmark, controls=19)["protocol"]
    for name in one:
        for kind in (PRIMARY, "majority", "contrast", "next_best", "sft", "controls"):
            assert one[name][kind] == other[name][kind], (name, kind)
        for k, unit in one[name]["units"].items():
            assert other[name]["units"][k] == pytest.approx(unit * factors[int(k)].item(), rel=1e-5)
        assert one[name]["scores"] == pytest.approx(other[name]["scores"], rel=1e-5)
        for a, b in zip(one[name]["rl_less_sft"], other[name]["rl_less_sft"], strict=True):
            assert a == (b if b["mean"] is None else pytest.approx(b, rel=1e-3))


def test_rl_less_sft_by_hand(scores) -> None:
    found = rl_less_sft(scores, splits_of(TASKS)["all"], 0, CHOICE)
    count = scores.count[:, :, WON].sum()
    assert found["mean"] == pytest.approx(
        scores.gain[0, :, :, WON, 0].sum() / count * scores.norms[2, 0]
    )
    assert 0 < found["stderr"] < found["mean"] / 10, "SFT is base: all of the score is RL's"


def test_rl_is_compared_with_sft_on_questions_that_selected_nothing(scores) -> None:
    """Half A's features by their mean on half B; for the set of all questions there is none."""
    found = select(scores)["protocol"]
    mean = scores.gain[0, :, 1, WON, 0].sum() / scores.count[:, 1, WON].sum() * scores.norms[2, 0]
    assert found["A"]["rl_less_sft"][0]["mean"] == pytest.approx(mean)
    assert found["all"]["rl_less_sft"][0] == {"feature": 0, "mean": None, "stderr": None}
    numbers = feature_numbers(select(scores))["rl_less_sft"]
    assert numbers["above_sft"] == 2 * RAISED and numbers["mean"] > 0


def test_features_of_sft_have_their_units_in_sft(world, benchmark) -> None:
    """A feature at 2 to 3 in SFT that RL never has: its unit by RL is 0, by SFT nearly 3."""
    table = world.models["sft"].table.clone()
    table[:, AXES + 40] = torch.linspace(2.0, 3.0, len(table))
    silent = world.models["rl"].table.clone()
    silent[:, AXES + 40] = 0.0
    models = world.models | {"sft": PlantedModel(table), "rl": PlantedModel(silent)}
    found = scores_of(world._replace(models=models), benchmark)
    assert found.units[0, 40] == 0 and 2 < found.sft_units[0, 40] <= 3
    split = select(found)["protocol"]["all"]
    assert split["sft"][0] == 40
    assert split["sft_units"]["40"] == pytest.approx(float(found.sft_units[0, 40]))


def test_traits_leave_the_norm_out(scores) -> None:
    traits = traits_of(scores, splits_of(TASKS)["all"])
    np.testing.assert_allclose(traits.share, 1 / len(MODELS))
    np.testing.assert_allclose(traits.rate, 1.0)
    np.testing.assert_allclose(traits.contribution, 0.5 * 1.5, rtol=0.05)  # |D| f, U(1, 2)


def test_features_raised_everywhere_overlap_in_every_cell(scores) -> None:
    cells = {kind: cell_overlap(scores, TASKS, kind, CHOICE) for kind in ("won", "both_right")}
    for found in cells.values():
        assert [pair["share"] for pair in found["overlap"]] == [1.0] * 3
        assert found["overlap"][0]["chance"] == pytest.approx(RAISED / FEATURES)
    assert cells["won"]["questions"] != cells["both_right"]["questions"]
    assert not set(HELD_OUT) & set(cells["won"]["questions"])


def test_without_critical_samples_nothing_is_selected(scores) -> None:
    count = scores.count.copy()
    count[:, :, WON] = 0
    found = select(scores._replace(count=count))
    assert found["intersection"] == [] == found["protocol"]["all"][PRIMARY]
    assert found["protocol"]["all"]["controls"] == {
        k: [] for k in (PRIMARY, "majority", "contrast")
    }
    json.dumps(found, allow_nan=False)
