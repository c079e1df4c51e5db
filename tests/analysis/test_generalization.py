"""Critical samples, scores (Eq. 11), thresholds, intersections and controls, by worked numbers."""

import pandas as pd
import pytest
import torch

from crosslens.analysis.generalization import (
    controls,
    critical_samples,
    feature_sets,
    features_of,
    final_token,
    intersection,
    majority,
    of_size,
    overlap,
    score_task,
    select,
    select_all,
)
from crosslens.crosscoder.model import Crosscoder
from crosslens.io.errors import InputError


def outcome(doc: int, correct: int, task: str = "t", text: str = "h") -> dict:
    return {"task": task, "doc_id": doc, "doc_hash": f"{text}{doc}", "correct": correct}


def trio() -> Crosscoder:
    """Three models of width 1, two features; weights chosen to work by hand."""
    crosscoder = Crosscoder(3, 1, 2, metadata={"models": ["base", "sft-5", "rl-5"]})
    crosscoder.W_enc.data = torch.tensor([[[1.0, 0.0]], [[2.0, 1.0]], [[3.0, -1.0]]])
    crosscoder.b_enc.data = torch.tensor([-1.0, 0.5])
    crosscoder.scales.copy_(torch.tensor([1.0, 1.0, 2.0]))
    return crosscoder


ACTIVATIONS = torch.tensor([[[2.0], [1.0], [1.5]]])  # scaled: 2, 1, 3


def test_critical_samples_are_wrong_in_base_and_right_in_rl() -> None:
    base = [outcome(0, 0), outcome(1, 1), outcome(2, 0), outcome(3, 1)]
    rl = [outcome(0, 1), outcome(1, 1), outcome(2, 0), outcome(3, 0)]
    found = critical_samples(base, rl, ["t"])["t"]
    assert found == {
        "documents": 4,
        "critical": [{"doc_id": 0, "doc_hash": "h0"}],
        "lost": 1,
    }


def test_different_documents_are_refused() -> None:
    with pytest.raises(InputError, match="different files"):
        critical_samples([outcome(0, 0)], [outcome(0, 1, text="other")], ["t"])


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


def test_selection_is_above_a_share_of_the_maximum() -> None:
    scores = pd.Series([1.0, 0.2, 0.21, -3.0])
    assert select(scores, 0.2) == [0, 2]
    assert select(pd.Series([-1.0, 0.0]), 0.2) == []
    assert select(pd.Series(dtype=float), 0.2) == []


def test_intersection_and_majority() -> None:
    selected = {"a": [1, 2, 3], "b": [2, 3], "c": [3, 4]}
    assert intersection(selected) == [3]
    assert majority(selected) == [2, 3]


def test_overlap_of_two_sets() -> None:
    assert overlap([1, 2, 3], [2, 3, 4, 5]) == {"jaccard": 2 / 5, "share": 2 / 3}


def test_controls_avoid_the_selected_and_repeat_with_the_seed() -> None:
    sets = controls(list(range(20)), {0, 1, 2}, 4, 5, seed=7)
    assert len(sets) == 5 and all(len(set(s)) == 4 for s in sets)
    assert not {0, 1, 2} & {f for s in sets for f in s}
    assert sets == controls(list(range(20)), {0, 1, 2}, 4, 5, seed=7)


def test_no_two_controls_begin_alike_while_the_pool_has_others() -> None:
    for pool, count in ((12, 12), (4, 4)):
        draws = controls(list(range(pool)), set(), 2, count, seed=3)
        assert sorted(draw[0] for draw in draws) == list(range(pool))
        assert all(len(set(draw)) == 2 for draw in draws)
    alone = controls(list(range(4)), set(), 1, 5, seed=3)
    assert len(alone) == 5 and {f for draw in alone for f in draw} == set(range(4))


def scores_of(**tasks: list[float]) -> pd.DataFrame:
    rows = [
        {"task": t, "feature": k, "score": s, "rl_rate": 1.0}
        for t, scores in tasks.items()
        for k, s in enumerate(scores)
    ]
    return pd.DataFrame(rows, columns=["task", "feature", "score", "rl_rate"])


def test_an_empty_intersection_is_a_result_with_its_numbers() -> None:
    table = scores_of(a=[1.0, 0.0, 0.0, 0.1], b=[0.0, 2.0, 0.0, 0.1])
    found = select_all(
        table, ["a", "b", "c"], 0.2, alive=[0, 1, 2, 3], active_rate=0.1, random_sets=5, seed=0
    )
    assert found["intersection"] == [] and found["majority"] == []
    assert "a 1 (maximum score 1)" in found["why_empty"]
    assert "c 0 (no critical sample)" in found["why_empty"]
    sets = feature_sets(found, ["a", "b"])
    kinds = [s.kind for s in sets]
    drawn = [s.features for s in sets if s.kind == "random_alive"]
    assert sorted(drawn) == [[2], [3]], "two features to draw from: no more than two controls"
    assert kinds.count("per_task") == 2


def test_controls_avoid_whatever_some_task_selected() -> None:
    table = scores_of(a=[1.0, 0.0, 0.0, 0.1], b=[0.0, 2.0, 0.0, 0.1])
    found = select_all(
        table, ["a", "b"], 0.2, alive=[0, 1, 2, 3], active_rate=0.1, random_sets=5, seed=0
    )
    drawn = {f for sets in found["controls"].values() for s in sets for f in s}
    assert found["intersection"] == [] and drawn <= {2, 3}
    assert found["pools"] == {"alive": 2, "active": 2}


@pytest.mark.parametrize(("pool", "sets"), [(0, 0), (2, 0), (3, 1), (4, 4)])
def test_a_control_has_the_full_size_and_counts_once(pool: int, sets: int) -> None:
    draws = controls(list(range(pool)), set(), 3, 60, seed=0)
    found = of_size(draws, 3)
    assert len(found) == sets == len({frozenset(draw) for draw in found})
    assert all(len(draw) == 3 for draw in found)


def test_every_set_has_controls_of_its_size_on_its_tasks() -> None:
    a, b = [1.0, 1.0, 0] + 60 * [0], [1.0, 1.0, 1.0] + 60 * [0]
    found = select_all(scores_of(a=a, b=b), ["a", "b"], 0.2, list(range(63)), 0.1, 5, seed=0)
    assert found["intersection"] == [0, 1]
    sets = feature_sets(found, ["a", "b", "unseen"])
    drawn = [s for s in sets if s.kind == "random_alive"]
    assert [(s.size, s.tasks) for s in drawn] == 5 * [(2, ["a", "b", "unseen"])] + 5 * [(3, ["b"])]
    assert all(len(s.features) == s.size and not {0, 1, 2} & {*s.features} for s in drawn)
    small, large = drawn[0], drawn[5]
    assert small.features == large.features[:2], "one draw serves every size"


def test_the_final_token_is_the_prompts_last() -> None:
    from helpers_models import tiny_network

    from crosslens.activations.extract import truncate

    model = truncate(tiny_network().model, 2)
    prompts = [[5, 6, 7, 8], [9, 10], [11]]
    together = final_token(model, prompts, batch_size=2)
    for row, prompt in zip(together, prompts, strict=True):
        alone = model(input_ids=torch.tensor([prompt])).last_hidden_state[0, -1]
        torch.testing.assert_close(row, alone, atol=1e-5, rtol=1e-4)
