"""Won, lost, net and the rest by worked numbers; why the paper's before and after cannot fail."""

import numpy as np
import pytest
from scipy import stats

from crosslens.analysis.outcomes import (
    Benchmark,
    Run,
    effect_numbers,
    effect_rows,
    features_edited,
    question_effects,
    undirected,
)

RIGHT = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0]], dtype=bool)
BASE = np.array([1, 1, 0, 0, 2], dtype=np.int8)  # wrong, right, wrong, right, wrong
RL = np.array([0, 1, 3, 0, 2], dtype=np.int8)  # right, right, wrong, right, wrong
EVERY = np.ones(5, dtype=bool)


def benchmark() -> Benchmark:
    return Benchmark(
        tasks=["a"],
        held_out=["b"],
        task=["a", "a", "a", "b", "b"],
        half=list("ABABA"),
        passage=list("vwxyz"),
        right=RIGHT,
        choices=np.full(5, 4),
        answers={"base": BASE, "sft": BASE, "rl": RL},
        critical=np.array([1, 0, 0, 0, 0], dtype=bool),
    )


def run_of(*choices: list[int], margin: float = 0.5, **arm) -> Run:
    arm = {
        "design": "protocol",
        "features": "f",
        "kind": "selected",
        "dose": "d",
        "draw": 0,
        "size": 0.1,
        "n_features": {"A": 1, "B": 2, "all": 3},
    } | arm
    choice = np.array(choices, dtype=np.int8)
    before = np.zeros(5, dtype=np.float32)
    return Run(0, "base", "rl", [arm] * len(choices), choice, choice * 0 + margin, BASE, before)


def test_the_measures_by_hand() -> None:
    # won 0; lost 1; 2 moves to RL's wrong answer; 3 stays; 4 moves, where base and RL agree
    found = effect_numbers(run_of([0, 2, 3, 0, 1]), benchmark(), 0, EVERY)
    assert (found["won"], found["lost"], found["net"]) == (1, 1, 0.0)
    assert (found["accuracy_before"], found["accuracy_after"], found["chance"]) == (0.4, 0.4, 0.25)
    assert found["flips"] == 0.8
    # base and RL differ on 0 and 2; both changed, both to RL's answer
    assert (found["directed_of"], found["directedness"]) == (2, 1.0)
    assert found["directedness_chance"] == pytest.approx(1 / 3)
    assert found["margin"] == 0.5 and found["p_mcnemar"] == 1.0
    assert (found["n_samples"], found["critical_change"]) == (1, 100.0)


def test_nothing_changed_is_nothing() -> None:
    found = effect_numbers(run_of(BASE.tolist(), margin=0.0), benchmark(), 0, EVERY)
    assert (found["won"], found["lost"], found["flips"], found["margin"]) == (0, 0, 0.0, 0.0)
    assert np.isnan(found["directedness"]) and found["net_if_undirected"] == 0
    assert found["p_mcnemar"] == 1.0


def test_effects_of_a_measure_are_question_by_question() -> None:
    run = run_of([0, 2, 3, 0, 1], BASE.tolist())
    net = question_effects(run, benchmark(), [0, 1], "net", EVERY)
    assert net.part.tolist() == [[1, -1, 0, 0, 0], [0] * 5] and (net.whole == 1).all()
    critical = question_effects(run, benchmark(), [0], "critical", EVERY)
    assert critical.part.tolist() == [[1, 0, 0, 0, 0]] == critical.whole.tolist()


def test_rows_of_each_task_and_of_their_groups() -> None:
    rows = list(effect_rows(run_of([0, 2, 3, 0, 1]), benchmark()))
    assert [(r["task"], r["questions"], r["n_features"]) for r in rows] == [
        *[("a", 3, 2), ("b", 2, 3)],
        *[("tasks", 3, 2), ("held_out", 2, 3)],
    ]
    assert rows[0]["replicate"] == 0 and rows[0]["kind"] == "selected"


def test_where_an_arm_has_no_set_it_has_no_row() -> None:
    out = {"design": "leave_out", "n_features": {"without-a": 4}}
    found = {t: features_edited(out, t, benchmark()) for t in ("a", "b", "tasks", "held_out")}
    assert found == {"a": 4, "b": None, "tasks": 4, "held_out": None}
    own = {"design": "paper", "n_features": {"a": 2}}
    assert features_edited(own, "a", benchmark()) == 2
    assert features_edited(own, "held_out", benchmark()) is None


def test_drawing_every_answer_again_is_net_negative() -> None:
    """SciQ of Qwen3-4B-Base: four choices, accuracy .785; +25 on wrong samples, -53.5 net."""
    before = np.arange(1000) < 785
    choices = np.full(1000, 4)
    assert undirected(0.75, before, choices) == pytest.approx(-53.5)
    assert undirected(0.0, before, choices) == 0
    two = np.arange(100) < 50
    assert undirected(0.3, two, np.full(100, 2)) == pytest.approx(0.0)


def test_noise_gains_where_base_is_wrong_and_loses_more_elsewhere() -> None:
    """Two choices; normal margins of mean .5 and deviation 1, and noise of deviation .2, evenly
    spread. The gross gain of .026 is of the first order in the noise, the net change of the second:
    P(margin < 0) - P(margin + noise < 0) = -.0034."""
    count = 100_000
    even = (np.arange(count) + 0.5) / count
    margin = 0.5 + stats.norm.ppf(even)
    noise = 0.2 * stats.norm.ppf(count * even * 0.5**0.5 % 1)
    right = np.tile([True, False], (count, 1))
    before, after = ((m < 0).astype(np.int8) for m in (margin, margin + noise))
    facts = Benchmark(
        ["t"], [], ["t"] * count, ["A"] * count, ["p"] * count, right, np.full(count, 2),
        {"rl": np.zeros(count, dtype=np.int8)}, ~right[:, 0],
    )  # fmt: skip
    run = Run(0, "base", "rl", [], after[None], noise[None], before, np.zeros(count))
    found = effect_numbers(run, facts, 0, np.ones(count, dtype=bool))
    assert found["won"] / count == pytest.approx(0.0261, abs=1e-4)
    assert found["net"] / 100 == pytest.approx(-0.0034, abs=1e-4)
    assert found["won"] - found["lost"] == pytest.approx(found["net"] / 100 * count)


def test_noise_gains_on_critical_samples_and_not_on_all_questions() -> None:
    """The fault of measuring an edit where base is wrong and RL right: any noise "amplifies"."""
    rng = np.random.default_rng(0)
    count, m = 20_000, 4
    right = np.zeros((count, m), dtype=bool)
    right[np.arange(count), rng.integers(m, size=count)] = True
    shared = rng.normal(size=(count, m))
    base = shared * 0.8 + 0.6 * rng.normal(size=(count, m)) + 0.5 * right
    rl = shared * 0.8 + 0.6 * rng.normal(size=(count, m)) + 1.0 * right
    noisy = base + rng.normal(size=(count, m)) * 0.7
    before, after, better = (x.argmax(axis=1).astype(np.int8) for x in (base, noisy, rl))
    rows = np.arange(count)
    facts = Benchmark(
        ["t"],
        [],
        ["t"] * count,
        ["A"] * count,
        ["p"] * count,
        right,
        np.full(count, m),
        {"base": before, "rl": better},
        ~right[rows, before] & right[rows, better],
    )
    arm = {"design": "everywhere", "n_features": {}}
    margin = np.zeros((1, count), dtype=np.float32)
    run = Run(0, "base", "rl", [arm], after[None], margin, before, margin[0])
    found = effect_numbers(run, facts, 0, np.ones(count, dtype=bool))
    assert found["critical_change"] > 15 > 0 > found["net"] > -5
    assert found["critical_change"] / 100 > 1.2 * found["won"] / (~right[rows, before]).sum()
    assert found["directedness"] > found["directedness_chance"] + 0.05, "1/(m-1) is no null"
