"""A set against its controls: on the questions that both edit, by edits of the set's size."""

import numpy as np
import pytest

from crosslens.analysis.comparisons import ALONE, Rule, clusters, compare, numbers, pair
from crosslens.analysis.controls import PRIMARY
from crosslens.analysis.hypotheses import NOT_SUPPORTED, UNDECIDED, Hypothesis, judge
from crosslens.analysis.outcomes import Benchmark, Run, effect_rows
from crosslens.analysis.significance import cluster_weights

RULE = Rule(alpha=0.05, smallest=0.1, draws=50, seed=0)
WHICH = {"design": "protocol", "features": PRIMARY, "dose": "multiply 0"}


def benchmark(tasks: str, halves: str, passages: str = "") -> Benchmark:
    """One letter a question. Choice 0 is right; base answers 1 and RL 0."""
    count = len(tasks)
    return Benchmark(
        tasks=sorted(set(tasks)),
        held_out=[],
        task=list(tasks),
        half=list(halves),
        passage=list(passages or map(str, range(count))),
        right=np.array([[True, False]] * count),
        choices=np.full(count, 2),
        answers={
            "base": np.ones(count, np.int8),
            "sft": np.ones(count, np.int8),
            "rl": np.zeros(count, np.int8),
        },
        critical=np.ones(count, dtype=bool),
    )


def arm(kind: str, n_features: dict[str, int], **changes) -> dict:
    return {
        **WHICH,
        "kind": kind,
        "draw": 0,
        "size": 0.1,
        "n_features": n_features,
        "factors": {},
    } | changes


def run_of(arms: list[dict], choices: list[list[int]], replicate: int = 0) -> Run:
    choice = np.array(choices, dtype=np.int8)
    margin = np.zeros(choice.shape, dtype=np.float32)
    return Run(replicate, "rl", "base", arms, choice, margin, choice[0] * 0, margin[0])


BOTH = {"A": 1, "B": 1}
ZEROING = Hypothesis("rl", PRIMARY, "multiply 0", "tasks", "net", -1)


def test_questions_of_an_unedited_half_are_not_counted() -> None:
    """Two of four questions lost is 50 points; with nothing selected on half A, which edits half
    B, one of the two edited ones is: 50 points again, not 25."""
    facts = benchmark("tttt", "AABB")
    both = run_of([arm("selected", BOTH), arm("matched", BOTH)], [[1, 0, 1, 0], [0, 0, 0, 0]])
    one = {"A": 0, "B": 1}
    half = run_of([arm("selected", one), arm("matched", one)], [[1, 0, 0, 0], [0, 0, 0, 0]])
    for run, count in ((both, 4), (half, 2)):
        found = numbers(compare([run], facts, "tasks", "net", RULE, **WHICH))
        assert (found["value"], found["excess"], found["compared"]) == (-50.0, -50.0, count)
        row = next(effect_rows(run, facts))
        assert (row["task"], row["net"], row["questions"]) == ("t", -50.0, count)
        judged = judge({"z": ZEROING}, {"rl": [run]}, facts, RULE)["z"]
        seed = judged["per_seed"][0]
        assert (seed["net"], seed["lost"], seed["compared"]) == (-50.0, count // 2, count)
        assert (judged["n_questions"], judged["estimate"]) == (4, -50.0)


@pytest.mark.parametrize(("count", "verdict"), [(30, UNDECIDED), (40, NOT_SUPPORTED)])
def test_an_edit_that_changes_no_answer_has_an_exact_interval(count: int, verdict: str) -> None:
    """None of 40 passages changed: at most 8.8% would, by Clopper and Pearson. RL gained 100
    points, so that is less than the smallest effect of interest, 10. Of 30 it may be 11.6%."""
    facts = benchmark("t" * count, "A" * count)
    arms = [arm("selected", BOTH)]
    runs = [run_of(arms, [[0] * count], replicate) for replicate in range(3)]
    found = judge({"z": ZEROING}, {"rl": runs}, facts, RULE)["z"]
    bound = 100 * (1 - 0.025 ** (1 / count))
    assert found["effect"] == {
        "estimate": 0.0,
        "interval": [pytest.approx(-bound), pytest.approx(bound)],
        "seed_interval": [0.0, 0.0],
        "questions": count,
    }
    assert found["verdict"] == verdict and "excess" not in found, "there is no control"


def test_an_interval_reaches_as_far_as_that_of_no_change() -> None:
    """One of 40 questions won: none was lost, which a bootstrap cannot see to be possible. Two
    questions of a passage count once."""
    facts = benchmark("t" * 40, "A" * 40, "".join(chr(65 + i // 2) for i in range(40)))
    lost = run_of([arm("selected", BOTH)], [[1] + [0] * 39])
    found = compare([lost], facts, "tasks", "net", RULE, against=ALONE, **WHICH)
    bound = 100 * (1 - 0.025 ** (1 / 20))
    assert found.interval()[1] == pytest.approx(-2.5 + bound) and found.questions() == 40
    half = run_of([arm("selected", BOTH)], [[1, 0] * 20])
    found = compare([half], facts, "tasks", "margin", RULE, against=ALONE, **WHICH)
    assert found.interval() == (0.0, 0.0), "margins are no fractions of questions"


def test_controls_of_another_size_do_not_count() -> None:
    """Of three controls one had to be scaled by 10 at a place, and one has no set there."""
    facts = benchmark("tttt", "AABB")
    arms = [
        arm("selected", BOTH),
        arm("matched", BOTH, factors={"A": 2.0, "B": 0.25}),
        arm("matched", BOTH, factors={"A": 10.0, "B": 1.0}),
        arm("matched", {"A": 1, "B": 0}, factors={"A": 1.0}),
    ]
    run = run_of(arms, [[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]])
    found = pair(run, facts, "tasks", "matched", **WHICH)
    assert found.arms == [0, 1] and found.questions.all()
    judged = judge({"z": ZEROING}, {"rl": [run]}, facts, RULE)["z"]
    controls = judged["controls"]
    assert (controls["count"], controls["mean"], controls["largest_scaling"]) == (1, -25.0, 4.0)
    assert judged["controls_needed"] == 19 and judged["excess"] == -75.0


def test_sets_by_task_are_compared_where_controls_have_a_set_too() -> None:
    """Task a has too few features in the pool: its control edits task b only."""
    which = WHICH | {"design": "paper", "features": "per_task"}
    arms = [
        arm("selected", {"a": 12, "b": 2}, **which),
        arm("random_alive", {"b": 2}, **which),
    ]
    facts = benchmark("aabb", "AAAA")
    run = run_of(arms, [[1, 1, 1, 0], [0, 0, 0, 0]])
    found = compare([run], facts, "tasks", "net", RULE, against="random_alive", **which)
    assert numbers(found)["value"] == -50.0, "one of the two questions of task b"
    assert found.pairs[0].questions.tolist() == [False, False, True, True]


def test_seeds_without_a_set_leave_a_claim_undecided() -> None:
    facts = benchmark("tttt", "AABB")
    none = {"A": 0, "B": 0}
    runs = [
        run_of([arm("selected", n), arm("matched", n)], [[1, 1, 1, 0], [0, 0, 0, 0]], replicate)
        for replicate, n in enumerate((BOTH, none, none))
    ]
    found = judge({"z": ZEROING}, {"rl": runs}, facts, RULE)["z"]
    assert (found["seeds"], found["seeds_with_set"]) == (3, 1)
    assert found["verdict"] == "undecided at this size"
    assert found["reason"].startswith("1 of 3 seeds have a set")


def test_sft_is_a_control_of_both_edits() -> None:
    """Zeroed in RL the features lose 3 of 4 questions, in SFT 1. In base they win 2 of 4, features
    selected for SFT win 1."""
    facts = benchmark("tttt", "AABB")
    arms = [arm("selected", BOTH), arm("matched", BOTH)]
    rl = run_of(arms, [[1, 1, 1, 0], [0, 0, 0, 0]])
    sft = run_of(arms, [[1, 0, 0, 0], [0, 0, 0, 0]])._replace(target="sft")
    kinds = [arm("selected", BOTH), arm("matched", BOTH), arm("sft", BOTH)]
    base = run_of(kinds, [[0, 0, 1, 1], [1, 1, 1, 1], [0, 1, 1, 1]])
    base = base._replace(target="base", other="rl", before=np.ones(4, np.int8))
    amplifying = ZEROING._replace(target="base", sign=1)
    runs = {"rl": [rl], "sft": [sft], "base": [base]}
    found = judge({"z": ZEROING, "a": amplifying}, runs, facts, RULE)
    zeroed, amplified = found["z"]["sft_control"], found["a"]["sft_control"]
    assert (found["z"]["excess"], zeroed["value"], zeroed["excess"]) == (-75.0, -25.0, -25.0)
    assert (amplified["value"], amplified["control_mean"], amplified["excess"]) == (50, 25, 25)
    assert judge({"z": ZEROING}, {"rl": [rl]}, facts, RULE)["z"]["sft_control"] is None


def test_batch_topk_stands_beside_and_decides_nothing() -> None:
    """Zeroed in RL, the features lose 3 of 4 questions, those selected with BatchTopK 1."""
    facts = benchmark("tttt", "AABB")
    arms = [arm("selected", BOTH), arm("matched", BOTH)]
    rl = run_of(arms, [[1, 1, 1, 0], [0, 0, 0, 0]])
    topk = run_of(arms, [[1, 0, 0, 0], [0, 0, 0, 0]])
    alone = judge({"z": ZEROING}, {"rl": [rl]}, facts, RULE)["z"]
    found = judge({"z": ZEROING}, {"rl": [rl]}, facts, RULE, {"rl": [topk]})["z"]
    assert "batch_topk" not in alone
    beside = found.pop("batch_topk")
    assert str(found) == str(alone), "NaN is not equal to itself"
    assert (beside["value"], beside["excess"], beside["controls"]) == (-25.0, -25.0, 1)
    without = run_of([arm("selected", {"A": 0, "B": 0})], [[0, 0, 0, 0]])
    found = judge({"z": ZEROING}, {"rl": [rl]}, facts, RULE, {"rl": [without]})["z"]
    assert found["batch_topk"] is None


def test_a_passage_in_two_tasks_is_drawn_in_each() -> None:
    """Tasks a (passages x, y) and b (y, z): every draw has two questions of each."""
    facts = benchmark("aabb", "AAAA", "xyyz")
    cluster, stratum = clusters(facts, np.ones(4, dtype=bool))
    assert len(set(cluster)) == 4 and stratum.tolist() == [0, 0, 1, 1]
    weights = cluster_weights(cluster, stratum, 200, np.random.default_rng(0))[:, cluster]
    assert (weights[:, :2].sum(axis=1) == 2).all() and (weights[:, 2:].sum(axis=1) == 2).all()
    assert weights[:, 0].std() == pytest.approx(0.7, abs=0.1)
