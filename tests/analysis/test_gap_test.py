"""The gap test: planted gains that a reconstruction keeps or loses, intervals and verdicts."""

import numpy as np
import pytest
import torch
from planted import AXES, FEATURES, GATE, MODELS, benchmark_of, edited_model, make_world
from test_splice import perfect
from tiny_models import tiny_network

from crosslens.analysis.gap_test import gap_table, recovery, spliced_choices
from crosslens.analysis.hypotheses import NOT_SUPPORTED, SUPPORTED, UNDECIDED
from crosslens.analysis.splice import CODES
from crosslens.crosscoder.model import Crosscoder
from crosslens.evaluation.questions import Question, answer
from crosslens.evaluation.split_model import SplitModel
from crosslens.evaluation.token_trees import make_batch

EVERYWHERE = {"batch_size": 64, "skip_positions": 0, "sink_threshold": float("inf")}


@pytest.fixture(scope="module")
def world():
    """Return the world in which RL opens a gate, and what is known of its questions."""
    world = make_world("disturber", 0)
    benchmark = benchmark_of(world, {name: edited_model(world, name) for name in MODELS})
    return world, benchmark._replace(answers=benchmark.answers | {"sft": benchmark.answers["base"]})


def table_of(world, crosscoder: Crosscoder):
    made, benchmark = world
    models = [made.models[name] for name in MODELS]
    choice = spliced_choices(crosscoder, models.__getitem__, made.questions, **EVERYWHERE)
    table = gap_table(benchmark, choice, draws=200, seed=0)
    return table.set_index(["model", "task", "code"])


def test_an_exact_reconstruction_keeps_the_gain(world) -> None:
    found = table_of(world, perfect(3, AXES + FEATURES)).loc["rl", "all", "joint"]
    assert found["gain"] > 20
    assert found["tuned_spliced"] == found["tuned"] and found["base_spliced"] == found["base"]
    assert found["recovered"] == found["recovered_low"] == found["recovered_high"] == 1
    assert found["verdict"] == SUPPORTED


def test_a_decoder_without_rls_direction_loses_the_gain(world) -> None:
    """Base never uses the gate, so it answers as before, and RL answers as base does."""
    blind = perfect(3, AXES + FEATURES)
    blind.W_dec.data[:, :, GATE] = 0
    found = table_of(world, blind).loc["rl", "all", "joint"]
    assert found["tuned_spliced"] == found["base_spliced"] == found["base"] < found["tuned"]
    assert found["recovered"] == found["recovered_low"] == found["recovered_high"] == 0
    assert found["verdict"] == NOT_SUPPORTED


def test_a_model_without_a_gain_has_nothing_to_recover(world) -> None:
    table = table_of(world, perfect(3, AXES + FEATURES))
    for task in ("t0", "tasks", "held_out", "all"):
        found = table.loc["sft", task, "joint"]
        assert found["gain"] == 0 and np.isnan(found["recovered"])
        assert found["verdict"] == UNDECIDED


def test_a_recovery_by_hand() -> None:
    """Base 40%, RL 60%; spliced 30% and 45%: 15 of 20 points are left. Of the draws, one in a
    thousand has no gain."""
    drawn = np.tile([0.4, 0.6, 0.3, 0.45], (1000, 1))
    drawn[:500, 3] = 0.44
    drawn[0] = [0.5, 0.5, 0.3, 0.4]
    found = recovery(np.array([0.4, 0.6, 0.3, 0.45]), drawn)
    assert found["gain"] == pytest.approx(20) and found["gain_spliced"] == pytest.approx(15)
    assert found["recovered"] == pytest.approx(0.75)
    assert found["recovered_low"] == pytest.approx(0.70)
    assert found["recovered_high"] == pytest.approx(0.75)
    assert found["verdict"] == SUPPORTED


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.8), (0.45, 0.55)])
def test_an_interval_around_half_decides_nothing(low: float, high: float) -> None:
    drawn = np.tile([0.0, 1.0, 0.0, low], (100, 1))
    drawn[50:, 3] = high
    assert recovery(np.array([0.0, 1.0, 0.0, 0.5]), drawn)["verdict"] == UNDECIDED


QUESTIONS = [
    Question(
        *("t0", i, str(i), str(i), [3 + i, 5, 7 + i], [[], [9, 4 + i], [11]], [2, 2, 2]),
        targets=[[8], [9, 4 + i, 6], [11, 12]],
        right=[True, False, False],
    )
    for i in range(5)
]


def own_choices(models: list[SplitModel]) -> np.ndarray:
    batch = make_batch(QUESTIONS)
    return np.stack([answer(model, batch, model.states(batch), 3).choice for model in models])


@pytest.mark.parametrize("changed", [{"skip_positions": 9}, {"sink_threshold": 1e-9}])
def test_what_crosscoders_are_not_trained_on_is_not_spliced(changed: dict[str, float]) -> None:
    models = [SplitModel(tiny_network("qwen3", seed=i), 2) for i in range(2)]
    empty = Crosscoder(2, 16, 4, metadata={"models": list(MODELS[:2])}).requires_grad_(False)
    empty.W_dec.zero_()
    options = EVERYWHERE | {"batch_size": 2} | changed
    found = spliced_choices(empty, models.__getitem__, QUESTIONS, **options)
    own = np.repeat(own_choices(models)[:, None], len(CODES), axis=1)
    np.testing.assert_array_equal(found, own)


def test_trees_of_a_network_whose_states_are_copied() -> None:
    models = [SplitModel(tiny_network("qwen3", seed=i), 2) for i in range(2)]
    options = EVERYWHERE | {"batch_size": 2, "skip_positions": 1}
    copied = perfect(2).requires_grad_(False)
    with torch.inference_mode():
        found = spliced_choices(copied, models.__getitem__, QUESTIONS, **options)
    np.testing.assert_array_equal(found[:, CODES.index("joint")], own_choices(models))
