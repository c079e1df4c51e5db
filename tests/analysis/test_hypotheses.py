"""A planted cause passes, a feature that merely disturbs does not, at the stated error rates."""

from collections import Counter
from functools import cache

import numpy as np
import pytest
from planted import AMPLIFY, World, make_world, primary_runs, seeds_of

from crosslens.analysis.comparisons import (
    KEYS,
    NUMBERS,
    Compared,
    Rule,
    compare,
    comparison_rows,
    with_q,
)
from crosslens.analysis.controls import PRIMARY
from crosslens.analysis.edits import ZERO
from crosslens.analysis.hypotheses import (
    NOT_SUPPORTED,
    SUPPORTED,
    UNDECIDED,
    Hypothesis,
    gain,
    judge,
    least_controls,
    refuted,
    verdict,
)
from crosslens.analysis.outcomes import effect_numbers
from crosslens.crosscoder.model import Crosscoder

RULE = Rule(alpha=0.05, smallest=0.1, draws=200, seed=0)
AMPLIFYING = Hypothesis("base", PRIMARY, str(AMPLIFY), "held_out", "net", +1)
ZEROING = AMPLIFYING._replace(target="rl", dose=str(ZERO), sign=-1)
CLAIMS = {
    f"{name}_{questions}": claim._replace(questions=questions)
    for name, claim in {"amplify": AMPLIFYING, "zero": ZEROING}.items()
    for questions in ("tasks", "held_out")
}
DRAWS, CONTROLS = 5, 19


@cache
def judged(kind: str, seed: int) -> dict[str, dict]:
    """Return the verdict on each claim by itself, over three seeds of the crosscoder, and the
    paper's number: amplifying on critical samples of held-out tasks."""
    runs, benchmark = primary_runs(seeds_of(make_world(kind, seed)), CONTROLS)
    found = {name: judge({name: h}, runs, benchmark, RULE)[name] for name, h in CLAIMS.items()}
    held_out = benchmark.groups()["held_out"]
    paper = effect_numbers(runs["base"][0], benchmark, 0, held_out)["critical_change"]
    return found | {"paper": {"change": paper}}


def counted(kind: str) -> Counter[str]:
    """Return how many verdicts of each kind all claims have in `DRAWS` worlds."""
    return Counter(judged(kind, seed)[name]["verdict"] for seed in range(DRAWS) for name in CLAIMS)


def test_a_planted_cause_is_supported() -> None:
    verdicts = counted("cause")
    assert verdicts.total() == 20 and verdicts[SUPPORTED] >= 15
    assert not verdicts[NOT_SUPPORTED]


def test_a_feature_that_merely_disturbs_is_not() -> None:
    verdicts = counted("disturber")
    assert verdicts[SUPPORTED] <= 4, "of 20 at 5%: more happens once in 400 times"
    assert verdicts[NOT_SUPPORTED] >= 5


def test_a_disturbing_features_paper_number_rises() -> None:
    found = [judged("disturber", seed) for seed in range(DRAWS)]
    papers = np.array([f["paper"]["change"] for f in found])
    assert papers.mean() > 5 and (papers >= 0).all(), "on critical samples it cannot fall"
    assert np.mean([f["amplify_held_out"]["effect"]["estimate"] for f in found]) < 0


def test_the_seeds_of_a_planted_world_differ() -> None:
    found = judged("cause", 0)["amplify_tasks"]
    assert found["ceiling"] is None and [s["replicate"] for s in found["per_seed"]] == [0, 1, 2]
    assert len({s["net"] for s in found["per_seed"]}) == 3


def rescaled(world: World) -> World:
    """Return a world whose crosscoder gives the same loss at other scales of its features."""
    same = Crosscoder.of({k: v.clone() for k, v in world.crosscoder.state_dict().items()}, {})
    factors = 2.0 ** (np.arange(len(same.b_enc)) % 7 - 3)
    for weights in (same.W_enc.data, same.b_enc.data):
        weights *= weights.new_tensor(factors)
    same.W_dec.data /= same.W_dec.new_tensor(factors)[:, None]
    return world._replace(crosscoder=same)


def test_rescaling_features_changes_no_verdict() -> None:
    worlds = seeds_of(make_world("cause", seed=2))
    hypotheses = {"a": AMPLIFYING, "z": ZEROING}
    one, other = (
        judge(hypotheses, *primary_runs(some, CONTROLS), RULE._replace(alpha=0.1))
        for some in (worlds, [rescaled(world) for world in worlds])
    )
    assert [found["verdict"] for found in one.values()] == [SUPPORTED] * 2
    assert str(one) == str(other)


def test_holm_counts_all_primary_hypotheses() -> None:
    runs, benchmark = primary_runs(seeds_of(make_world("cause", seed=0)), CONTROLS)
    hypotheses = {"a": AMPLIFYING, "tasks": AMPLIFYING._replace(questions="tasks")}
    found = judge(hypotheses, runs, benchmark, RULE)
    assert found["a"]["p"] == 0.05 and found["a"]["p_holm"] == 0.1
    assert found["a"]["verdict"] == UNDECIDED
    assert found["a"]["reason"] == "19 valid control sets, fewer than the 39 needed"
    assert found["a"]["rl_gain"] == gain(benchmark, AMPLIFYING) > 0
    assert found["a"]["per_seed"][0]["n_features"] == {"all": 3, "A": 3, "B": 3}
    assert found["tasks"]["n_questions"] == 3 * found["a"]["n_questions"]


def test_seeds_are_combined_control_by_control() -> None:
    values = [np.array([5.0, 1.0, 2.0, 3.0]), np.array([1.0, 0.0, 2.0, 9.0])]
    found = Compared(values, np.array([1.0, 2.0]))
    assert found.per_seed() == [3.0, pytest.approx(-8 / 3)]
    assert found.p(+1) == 2 / 4, "means 3 against 0.5, 2 and 6"
    assert found.p(-1) == 3 / 4


def test_several_seeds_give_one_comparison() -> None:
    runs, benchmark = primary_runs([make_world("cause", seed=0, questions=30)], 5)
    twice = [runs["base"][0]._replace(replicate=i) for i in range(2)]
    which = {"design": "protocol", "features": PRIMARY, "dose": str(AMPLIFY)}
    one, two = (compare(r, benchmark, "held_out", "net", RULE, **which) for r in (twice[:1], twice))
    assert len(two.values) == 2 and two.per_seed() == 2 * one.per_seed()
    assert two.p(+1) == one.p(+1)


RANGE = np.linspace(0.0, 1.0, 101)


def over_seeds(low: float, high: float, *values: float, controls: int = 19) -> Compared:
    """Return a comparison with an interval of about `low` to `high`.

    Three seeds have the middle of it as their excess, or seeds have the given values.
    """
    each = values or [(low + high) / 2] * 3
    return Compared([np.array([v, *[0.0] * controls]) for v in each], low + (high - low) * RANGE)


def decided(effect: Compared | None, excess: Compared | None, p: float = 0.01, **changes) -> dict:
    """Return the verdict on amplifying where RL gained 20 points, so that 2 are the smallest effect
    of interest, in three seeds, with 19 controls needed."""
    given = {"gap": 20.0, "rule": RULE, "seeds": 3, "needed": 19} | changes
    sign = given.pop("sign", 1)
    return verdict(AMPLIFYING._replace(sign=sign), effect, excess, p, **given)


@pytest.mark.parametrize(
    ("effect", "excess", "p", "expected"),
    [
        ((5, 6), (5, 6), 0.04, SUPPORTED),
        ((5, 6), (5, 6), 0.06, UNDECIDED),  # not beyond enough controls
        ((1, 7), (-1, 7), 0.04, UNDECIDED),  # the excess may be 0, or 2
        ((-5, 3), (5, 6), 0.04, UNDECIDED),  # better than controls, and still a loss
        ((5, 6), (-0.5, 0.5), 0.04, NOT_SUPPORTED),  # the excess is below 2
        ((-0.5, 0.5), (5, 6), 0.04, NOT_SUPPORTED),  # so is the effect itself
        ((0.5, 1.5), (0.5, 1.5), 0.01, NOT_SUPPORTED),  # both above 0, and too small to matter
        ((-6, -5), (-6, -5), 1.0, NOT_SUPPORTED),
    ],
)
def test_the_rule_of_the_verdict(effect, excess, p, expected) -> None:
    assert decided(over_seeds(*effect), over_seeds(*excess), p)["verdict"] == expected
    mirrored = (over_seeds(*(-bound for bound in bounds)) for bounds in (effect, excess))
    assert decided(*mirrored, p, sign=-1)["verdict"] == expected


LARGE, NONE = over_seeds(5, 6), over_seeds(-0.5, 0.5)


@pytest.mark.parametrize(
    ("effect", "excess", "changes", "reason"),
    [
        (LARGE, LARGE, {"seeds": 4}, "3 of 4 seeds have a set"),
        (LARGE, over_seeds(5, 6, 6, 6), {}, "2 of 3 seeds have valid controls"),
        (LARGE, LARGE, {"needed": 79}, "19 valid control sets, fewer than the 79 needed"),
        (LARGE, None, {}, "0 of 3 seeds have valid controls"),
        (LARGE, LARGE, {"gap": -7.3}, "RL gained nothing on these questions"),
        (NONE, NONE, {"gap": 0.0}, "RL gained nothing on these questions"),
        (over_seeds(-1, 1, 0, 0), None, {"seeds": 2}, "fewer than 3 seeds"),
        (over_seeds(-1, 1, 0, 0), None, {}, "2 of 3 seeds have a set"),
        (None, None, {}, "0 of 3 seeds have a set"),
        (LARGE, over_seeds(6, 6), {}, "the interval has no width"),
        (LARGE, over_seeds(5, 6, 9, 9, -1), {}, "not every seed has the claimed sign"),
    ],
)
def test_what_is_missing_decides_nothing(effect, excess, changes: dict, reason: str) -> None:
    """RL that lost has no smallest effect of interest, either."""
    assert decided(LARGE, LARGE)["verdict"] == SUPPORTED
    found = decided(effect, excess, **changes)
    assert found["verdict"] == UNDECIDED and reason in found["reason"].split("; ")


def test_a_seed_without_a_value_supports_nothing() -> None:
    """Directedness where no answer changed."""
    part = over_seeds(5, 6, 5, 5, np.nan)
    assert "not every seed has the claimed sign" in decided(LARGE, part)["reason"]
    assert "opposite sign" in decided(part, LARGE)["reason"]


def test_a_claim_is_refuted_by_its_effect_alone_whatever_the_controls() -> None:
    """The excess needs as many controls as one claim by itself: over few its interval is narrow."""
    expected = {
        "verdict": NOT_SUPPORTED,
        "reason": "the effect, +0.00 [-0.47, +0.47], excludes an effect of 2.0 points, 10% of RL's "
        "gain",
    }
    few = over_seeds(-0.5, 0.5, controls=18)
    assert decided(NONE, None) == decided(NONE, few) == decided(NONE, LARGE, seeds=4) == expected
    assert decided(LARGE, few)["verdict"] == UNDECIDED
    reason = decided(LARGE, NONE, needed=79)["reason"]
    assert reason.startswith("the excess over controls, ")
    assert "], excludes an effect of 2.0 points" in reason


def test_how_many_controls_let_p_pass() -> None:
    """1 / (1 + 79) is 0.05 / 4; with 199 of them it is less."""
    assert [least_controls(0.05, n) for n in (1, 2, 4)] == [19, 39, 79]
    assert least_controls(0.01, 4) == 399 and least_controls(0.15, 3) == 19


def test_nothing_selected_is_undecided() -> None:
    benchmark = primary_runs([make_world("cause", seed=0, questions=10)], 2)[1]
    found = judge({"a": AMPLIFYING}, {"base": []}, benchmark, RULE)["a"]
    assert found["effect"] is None
    assert found["verdict"] == UNDECIDED and found["p"] == 1.0 and found["per_seed"] == []


def test_every_comparison_has_an_adjusted_p_value() -> None:
    runs, benchmark = primary_runs([make_world("cause", seed=0, questions=30)], CONTROLS)
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


def test_seeds_without_a_value_refute_nothing() -> None:
    """Two sets of three change no answer on which the models differ: directedness has no value."""
    values = [np.array([-0.5, 0.0]), np.array([np.nan, 0.0]), np.array([np.nan, 0.0])]
    few = Compared(values, np.linspace(-0.53, -0.47, 200))
    claim = AMPLIFYING._replace(measure="directedness")
    rule = RULE._replace(alpha=1.0)
    assert refuted(claim, few, None, 10.0, rule) == ""
    enough = Compared([values[0]] * 3, few.draws)
    assert "excludes the claimed direction" in refuted(claim, enough, None, 10.0, rule)


def test_critical_samples_have_a_gain_of_their_own() -> None:
    """RL answers all of them correctly and base none, whatever it gains on the other questions."""
    _, benchmark = primary_runs(seeds_of(make_world("cause", seed=0)), CONTROLS)
    assert gain(benchmark, AMPLIFYING._replace(measure="critical")) == 100.0
    assert 0 < gain(benchmark, AMPLIFYING) < 100
