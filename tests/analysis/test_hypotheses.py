"""A planted cause passes, a feature that merely disturbs does not, at the stated error rates."""

from functools import cache

import numpy as np
import pytest
from planted import (
    AMPLIFY,
    benchmark_of,
    chosen_of,
    edited_model,
    make_world,
    primary_runs,
    run_arms,
    run_of,
)

from crosslens.analysis.arms import with_controls
from crosslens.analysis.comparisons import (
    KEYS,
    NUMBERS,
    Compared,
    Rule,
    compare,
    comparison_rows,
    with_q,
)
from crosslens.analysis.hypotheses import (
    NOT_SUPPORTED,
    SUPPORTED,
    UNDECIDED,
    Hypothesis,
    gains,
    judge,
    least_controls,
    verdict,
)
from crosslens.analysis.outcomes import Run, effect_numbers
from crosslens.crosscoder.model import Crosscoder

RULE = Rule(alpha=0.05, smallest=0.1, draws=200, seed=0)
AMPLIFYING = Hypothesis("base", "intersection", str(AMPLIFY), "held_out", "net", +1)
DRAWS, CONTROLS = 30, 19


def seeds(run: Run) -> list[Run]:
    """Return a run as those of three seeds: every crosscoder of a planted world is the same."""
    return [run._replace(replicate=i) for i in range(3)]


@cache
def judged(kind: str, seed: int) -> dict:
    """Return the verdict on amplifying in base, on held-out questions, and the paper's number."""
    world = make_world(kind, seed)
    models = {name: edited_model(world, name) for name in ("base", "rl")}
    benchmark = benchmark_of(world, models)
    chosen = chosen_of(world, benchmark, CONTROLS)
    only = {"all": chosen["protocol"]["all"]}  # the held-out tasks' set: the others cost time
    arms = list(with_controls(only, "protocol", "intersection", AMPLIFY, CONTROLS))
    run = run_of("base", models["base"], run_arms(world, "base", models["base"], chosen, arms))
    found = judge({"amplify": AMPLIFYING}, {"base": seeds(run)}, benchmark, RULE)["amplify"]
    papers = effect_numbers(run, benchmark, 0, benchmark.groups()["held_out"])["critical_change"]
    return found | {"paper": papers}


def test_a_planted_cause_is_supported() -> None:
    found = [judged("cause", seed) for seed in range(DRAWS)]
    assert np.mean([f["verdict"] == SUPPORTED for f in found]) >= 0.8
    assert not [f for f in found if f["verdict"] == NOT_SUPPORTED]
    assert np.mean([f["ceiling"] is None for f in found]) == 1


def test_a_feature_that_merely_disturbs_is_not_though_the_papers_number_rises() -> None:
    found = [judged("disturber", seed) for seed in range(DRAWS)]
    supported = sum(f["verdict"] == SUPPORTED for f in found)
    assert supported <= 5, "of 30 at 5%: more happens once in 300 times"
    papers = np.array([f["paper"] for f in found])
    assert papers.mean() > 5 and (papers >= 0).all(), "on critical samples it cannot fall"
    assert np.mean([f["estimate"] for f in found]) < 0


def test_rescaling_features_changes_no_verdict() -> None:
    world = make_world("cause", seed=0, questions=30)
    same = Crosscoder.of({k: v.clone() for k, v in world.crosscoder.state_dict().items()}, {})
    factors = 2.0 ** (np.arange(len(same.b_enc)) % 7 - 3)
    for weights in (same.W_enc.data, same.b_enc.data):
        weights *= weights.new_tensor(factors)
    same.W_dec.data /= same.W_dec.new_tensor(factors)[:, None]
    hypotheses = {
        "a": AMPLIFYING,
        "z": AMPLIFYING._replace(target="rl", dose="multiply 0", sign=-1),
    }
    one, other = (
        judge(hypotheses, *primary_runs(w, 5), RULE)
        for w in (world, world._replace(crosscoder=same))
    )
    assert str(one) == str(other)


def test_holm_counts_all_primary_hypotheses() -> None:
    runs, benchmark = primary_runs(make_world("cause", seed=0), CONTROLS)
    hypotheses = {"a": AMPLIFYING, "tasks": AMPLIFYING._replace(questions="tasks")}
    found = judge(hypotheses, {"base": seeds(runs["base"][0])}, benchmark, RULE)
    assert found["a"]["p"] == 0.05 and found["a"]["p_holm"] == 0.1
    assert found["a"]["verdict"] == UNDECIDED
    assert found["a"]["reason"] == "19 valid control sets, fewer than the 39 needed"
    assert found["a"]["rl_gain"] == gains(benchmark)["held_out"] > 0
    assert found["a"]["per_seed"][0]["n_features"] == {"all": 3, "A": 3, "B": 3}
    assert found["tasks"]["n_questions"] == 3 * found["a"]["n_questions"]


def test_seeds_are_combined_control_by_control() -> None:
    values = [np.array([5.0, 1.0, 2.0, 3.0]), np.array([1.0, 0.0, 2.0, 9.0])]
    found = Compared(values, np.array([1.0, 2.0]))
    assert found.per_seed() == [3.0, pytest.approx(-8 / 3)]
    assert found.p(+1) == 2 / 4, "means 3 against 0.5, 2 and 6"
    assert found.p(-1) == 3 / 4


def test_several_seeds_give_one_comparison() -> None:
    parts = [primary_runs(make_world("cause", seed=s, questions=30), 5) for s in (0, 0)]
    runs = [parts[0][0]["base"][0], parts[1][0]["base"][0]._replace(replicate=1)]
    which = {"design": "protocol", "features": "intersection", "dose": str(AMPLIFY)}
    one, two = (compare(r, parts[0][1], "held_out", "net", RULE, **which) for r in (runs[:1], runs))
    assert len(two.values) == 2 and two.per_seed() == 2 * one.per_seed()
    assert two.p(+1) == one.p(+1)


RANGE = np.linspace(0.0, 1.0, 101)


@pytest.mark.parametrize(
    ("draws", "values", "p", "expected"),
    [
        (5 + RANGE, [6.0, 0.0], 0.04, SUPPORTED),
        (5 + RANGE, [6.0, 0.0], 0.06, UNDECIDED),  # not beyond enough controls
        (RANGE - 0.5, [6.0, 0.0], 0.04, NOT_SUPPORTED),  # excludes 2, a tenth of the gap
        (8 * RANGE - 0.5, [6.0, 0.0], 0.04, UNDECIDED),  # includes 0 and 2
        (5 + RANGE, [-1.0, -6.0], 0.04, UNDECIDED),  # better than controls, and still a loss
        (-5 - RANGE, [-6.0, 0.0], 1.0, NOT_SUPPORTED),
    ],
)
def test_the_rule_of_the_verdict(draws, values, p, expected) -> None:
    found = Compared([np.array(values)] * 3, draws)
    assert decided(found, p)["verdict"] == expected
    mirrored = Compared([-np.array(values)] * 3, -draws)
    assert decided(mirrored, p, AMPLIFYING._replace(sign=-1))["verdict"] == expected


def decided(found: Compared | None, p: float = 0.01, hypothesis=AMPLIFYING, **changes) -> dict:
    """Return the verdict where RL gained 20 points, each of three seeds has a set, and one control
    is enough."""
    given = {"gap": 20.0, "rule": RULE, "sets": [True] * 3, "needed": 1} | changes
    return verdict(hypothesis, found, p, **given)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sets": [True, False, True, True]}, "3 of 4 seeds have a set"),
        ({"sets": [True] * 4}, "3 of 4 seeds have valid controls"),
        ({"needed": 19}, "1 valid control sets, fewer than the 19 needed"),
        ({"gap": -7.3}, "RL gained nothing on these questions"),
        ({"gap": 0.0}, "RL gained nothing on these questions"),
    ],
)
def test_what_is_missing_decides_nothing(changes: dict, reason: str) -> None:
    """An effect of 5 to 6 points in each of three seeds, else supported."""
    found = Compared([np.array([6.0, 0.0])] * 3, 5 + RANGE)
    assert decided(found)["verdict"] == SUPPORTED
    assert decided(found, **changes) == {"verdict": UNDECIDED, "reason": reason}


def test_one_seed_of_three_with_a_set_is_undecided() -> None:
    found = Compared([np.array([6.0, 0.0])], 5 + RANGE)
    assert decided(found, sets=[True, False, False]) == {
        "verdict": UNDECIDED,
        "reason": "1 of 3 seeds have a set",
    }
    two = Compared([np.array([6.0, 0.0])] * 2, 5 + RANGE)
    assert decided(two, sets=[True] * 2)["reason"] == "fewer than 3 seeds"
    same = Compared([np.array([6.0, 0.0])] * 3, np.full(9, 6.0))
    assert decided(same)["reason"] == "the interval has no width"


def test_how_many_controls_let_p_pass() -> None:
    """1 / (1 + 79) is 0.05 / 4; with 199 of them it is less."""
    assert [least_controls(0.05, n) for n in (1, 2, 4)] == [19, 39, 79]
    assert least_controls(0.01, 4) == 399 and least_controls(0.15, 3) == 19


def test_rl_that_lost_has_no_smallest_effect() -> None:
    """A tenth of 7.3 points was excluded although RL had lost them."""
    found = Compared([np.array([-0.1, 0.0])] * 3, RANGE - 0.5)
    assert decided(found, gap=7.3)["reason"].startswith("the interval excludes an effect of 0.7")
    assert decided(found, gap=-7.3)["verdict"] == UNDECIDED


def test_seeds_that_differ_in_sign_are_undecided() -> None:
    found = Compared([np.array(v) for v in ([9.0, 0.0], [9.0, 0.0], [1.0, 2.0])], 5 + RANGE)
    assert decided(found) == {"verdict": UNDECIDED, "reason": "not every seed has the claimed sign"}


def test_nothing_selected_is_undecided() -> None:
    benchmark = primary_runs(make_world("cause", seed=0, questions=10), 2)[1]
    found = judge({"a": AMPLIFYING}, {"base": []}, benchmark, RULE)["a"]
    assert found["verdict"] == UNDECIDED and found["p"] == 1.0 and found["per_seed"] == []


def test_every_comparison_has_an_adjusted_p_value() -> None:
    runs, benchmark = primary_runs(make_world("cause", seed=0, questions=30), CONTROLS)
    rows = with_q(list(comparison_rows(runs["base"], benchmark, RULE)))
    assert {(r["questions"], r["measure"]) for r in rows} == {
        (q, m)
        for q in ("tasks", "held_out")
        for m in ("net", "flips", "directedness", "margin", "critical")
    }
    assert all(row["q"] >= row["p"] for row in rows)
    assert {tuple(row) for row in rows} == {(*KEYS, *NUMBERS)}
    margin = next(r for r in rows if (r["questions"], r["measure"]) == ("tasks", "margin"))
    assert margin["excess"] == pytest.approx(margin["value"] - margin["control_mean"])
    assert margin["low"] < margin["excess"] < margin["high"] and margin["controls"] == CONTROLS
