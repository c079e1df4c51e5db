"""Each claim's verdict follows from its interval by the rule, with worked numbers."""

import copy
from typing import Any

import pandas as pd
import pytest

from crosslens.analysis.controls import PRIMARY
from crosslens.analysis.hypotheses import NOT_SUPPORTED, SUPPORTED, UNDECIDED
from crosslens.reporting.claims import claim_of, verdicts
from crosslens.reporting.feature_numbers import attribution, tails
from crosslens.reporting.feature_numbers import turnover as turnover_numbers
from crosslens.reporting.findings import about_specificity
from crosslens.reporting.training_verdicts import early_features, turnover
from crosslens.reporting.verdict_texts import OTHERS
from crosslens.reporting.verdicts import (
    ARTIFACT,
    attributed_features,
    decide,
    intervention,
    shared_features,
    specific_features,
)


def tail(far: int, specific: int = 0) -> dict[str, Any]:
    """Features of 200 that are far from shared; half as many by NRN*."""
    by_nrn = {"below_0.3": far // 2, "above_0.7": far - far // 2, "specific": specific}
    by_star = {"star_below_0.3": 0, "star_above_0.7": far // 2}
    return {"alive": 200, **by_nrn, **by_star, "r2_above_0.7": {"base": 0.25, "tuned": 0.75}}


def attributed(sft: int, rl: int, sft_star: int = 0, rl_star: int = 0) -> dict[str, int]:
    """Features of 100 that have most of their norm in one model, by MAS and by MAS*."""
    numbers = {"alive": 100, "sft_above_0.5": sft, "rl_above_0.5": rl}
    numbers |= {"sft_specific": sft // 2, "rl_specific": 0}
    return numbers | {"sft_star_above_0.5": sft_star, "rl_star_above_0.5": rl_star}


def specificity(sft: list[int], rl: list[int]) -> dict[str, dict]:
    """Features far from shared, of 200, by seed, and none with swapped models.

    Earlier checkpoints do not count.
    """
    numbers = {f"sft-5-r{i}": tail(far) for i, far in enumerate(sft)}
    numbers |= {f"rl-5-r{i}": tail(far) for i, far in enumerate(rl)}
    numbers |= {f"{model}-5-swapped-r0": tail(0) for model in ("sft", "rl")}
    return numbers | {"sft-1-r0": tail(200)}


def top_lists(
    kept: list[int], first_last: int, other_seed: list[float], null: list[float] | None = None
) -> dict[str, Any]:
    """Overlaps of lists of 50 at five checkpoints.

    With a null (mean, 5% and 95% quantiles) in one crosscoder; pairs then share 20 by direction.
    """
    ends = {"1-5": [first_last, 50]}
    common = {f"{i}-{i + 1}": [n, 50] for i, n in enumerate(kept, 1)} | ends
    lists = {"checkpoints": [1, 2, 3, 4, 5], "other_seed": other_seed, "index": {"1-5": [9, 50]}}
    if null is None:
        return lists | {"common": common, "together": None}
    together = {"common": common, "null": dict(zip(("mean", "low", "high"), null, strict=True))}
    return lists | {"common": {"1-5": [20, 50]}, "together": together}


def cell(*shares: float | None) -> dict[str, list]:
    return {"share": list(shares)}


def selected(count: int) -> dict[str, Any]:
    """One seed's selected features."""
    apart = {"sets": 99, "features": 30 + count, "worst_caliper": 1.0 + count / 10}
    return {"protocol": {"all": {"intersection": count}}, "matching": apart}


def hypothesis(**changes: Any) -> dict[str, Any]:
    return {
        "target": "base", "features": PRIMARY, "questions": "tasks", "measure": "net",
        "estimate": 4.0, "effect": {"estimate": 4.5, "interval": [1.5, 7.0], "questions": 40},
        "controls": {
            "count": 99, "mean": 1.0, "low": -2.0, "high": 3.0, "largest_scaling": 4.0,
        },
        "excess": 3.0, "interval": [0.5, 6.0], "verdict": SUPPORTED, "reason": "p 0.01",
        "per_seed": [{"net": n, "net_controls": 1.0, "compared": 40} for n in (5.0, 3.0, 4.0)],
        "sign": 1, "seeds": 3, "seeds_with_set": 3, "controls_needed": 79, "n_questions": 40,
        "ceiling": 9.0, "detectable": 2.5, "sft_control": None,
    } | changes  # fmt: skip


def compared_with(kind: str) -> dict[str, Any]:
    """Return a row of the comparisons of evidence.json, without its numbers."""
    names = {"design": "protocol", "features": PRIMARY, "questions": "tasks", "measure": "net"}
    return names | {"against": kind}


def family(**changes: Any) -> dict[str, Any]:
    """Return the numbers of summary.json that claims are judged by."""
    elsewhere = {name: cell(0.2, 0.3, 0.2) for name in ("both_right", "both_wrong", "lost")}
    return {
        "specificity": specificity([60, 64, 62], [10, 12, 14]),
        "attribution": {f"r{i}": attributed(20 + i, 5, 10 + 2 * i, 9) for i in range(3)}
        | {"swapped-r0": attributed(0, 0)},
        "turnover": {
            "sft": top_lists([46, 47, 48, 49], 45, [0.8, 0.9], [25, 20, 30]),
            "rl": top_lists([30, 28, 35, 30], 20, [0.7, 0.6], [21, 16, 26]),
        },
        "gap": [],
        "critical": {"sciq": {"critical": 9}, "piqa": {"critical": 0}},
        "features": {"readouts": {"branch": {"per_task": {"sciq": 4}}}},
        "evidence": {
            "overlap": {"won": cell(0.6, 0.7, 0.65), **elsewhere},
            "features": [selected(n) for n in (4, 6, 5)],
            "questions": {"tasks": {"chance": 0.25}},
            "hypotheses": {"amplify": hypothesis()},
            "comparisons": {
                target: [compared_with(kind) for kind in OTHERS] for target in ("base", "rl")
            },
        },
    } | changes


@pytest.mark.parametrize(
    ("low", "high", "null", "verdict"),
    [
        (0.1, 2.0, 0.0, SUPPORTED),
        (-1.0, 2.0, 0.0, UNDECIDED),
        (-2.0, -1.0, 0.0, NOT_SUPPORTED),
        (0.0, 0.0, 0.0, NOT_SUPPORTED),  # no difference in any seed
        (0.4, 0.6, 0.5, UNDECIDED),
        (0.6, 0.7, 0.5, SUPPORTED),
        (None, None, 0.0, UNDECIDED),
        (float("nan"), float("nan"), 0.0, UNDECIDED),
    ],
)
def test_the_rule(low: float | None, high: float | None, null: float, verdict: str) -> None:
    assert decide(low, high, null) == verdict


def test_specific_features_by_seed() -> None:
    """30, 32, 31% less 5, 6, 7%: 25, 26, 24 points, whose t interval is 25 -+ 4.30 / sqrt 3."""
    found = specific_features(family())
    assert found.seeds == pytest.approx([25, 26, 24]) and found.estimate == pytest.approx(25)
    assert (found.low, found.high) == pytest.approx((25 - 2.484, 25 + 2.484), abs=1e-3)
    assert found.verdict == SUPPORTED
    by_seed = "By seed: SFT 30.0%, 32.0%, 31.0%, RL 5.0%, 6.0%, 7.0%."
    assert f"Claimed: above 0. {by_seed}" in found.against


def test_specific_features_beside_nulls_and_the_other_activation() -> None:
    tails = specificity([60, 64, 62], [10, 12, 14])
    tails |= {"sft-5-swapped-r0": tail(2), "rl-5-swapped-r0": tail(1)}
    tails |= {"sft-matched-r0": tail(30), "sft-5-topk-r0": tail(8), "rl-5-topk-r0": tail(6)}
    found = specific_features(family(specificity=tails))
    assert found.seeds == pytest.approx([25, 26, 24])
    assert "Claimed: above 0.5." in found.against
    assert "Models swapped at random: SFT 1.0%, RL 0.5%." in found.against
    assert "False fraction of SFT's features: 5%." in found.against
    assert "SFT model as far from base as RL: 15.0%." in found.against
    assert "BatchTopK: SFT 4.0%, RL 3.0%." in found.against
    assert (found.null, found.verdict) == (0.5, SUPPORTED)
    assert found.reason == "latent scaling confirms 0 of 60, 0 of 64, 0 of 62 of SFT's features"
    drift = {"alpha": 0.4, "drift": 1.5, "rl": 2.0}
    found = specific_features(family(specificity=tails, drift=drift))
    where = "40% of the way from base, at 0.75 times RL's drift"
    assert f"SFT model as far from base as RL ({where}): 15.0%." in found.against


def test_corrected_scores_and_decodability_beside_the_claim() -> None:
    """By NRN* 15, 16, 15.5% less 2.5, 3, 3.5%: 12.5, 13, 12 points, 12.5 -+ 4.303 * 0.5 / 3^.5."""
    found = specific_features(family()).against
    assert "With NRN*, difference +12.50 [+11.26, +13.74]." in found
    assert "By seed: SFT 15.0%, 16.0%, 15.5%, RL 2.5%, 3.0%, 3.5%." in found
    assert "decoded linearly from base and from their own model: SFT 0.25 and 0.75, RL" in found
    found = attributed_features(family()).against
    assert "With MAS*, difference +3.00 [-1.97, +7.97]." in found


@pytest.mark.parametrize(
    ("sft", "rl", "topk", "verdict"),
    [
        (10, 4, SUPPORTED, SUPPORTED),  # +3 points, of which 4.3 times the spread of 0.5 is 2.2
        (8, 6, UNDECIDED, SUPPORTED),
        (4, 14, NOT_SUPPORTED, ARTIFACT),
    ],
)
def test_a_claim_that_only_l1_supports(sft: int, rl: int, topk: str, verdict: str) -> None:
    """Three seeds with L1 differ by 25, 25.5 and 24.5 points; BatchTopK has one seed."""
    tails = specificity([60, 62, 62], [10, 11, 13])
    tails |= {"sft-5-topk-r0": tail(sft), "rl-5-topk-r0": tail(rl)}
    found = specific_features(family(specificity=tails))
    assert found.batch_topk is not None and found.batch_topk["verdict"] == topk
    assert found.batch_topk["estimate"] == (sft - rl) / 2
    half = 4.3027 * 0.5
    assert found.batch_topk["high"] == pytest.approx((sft - rl) / 2 + half, abs=1e-3)
    assert found.verdict == verdict
    assert f"With BatchTopK, difference {(sft - rl) / 2:+.2f}" in found.against
    assert "(one seed, with the spread over seeds of those with L1)" in found.against


@pytest.mark.parametrize(
    ("sft", "rl", "topk", "verdict"),
    [
        ([10, 12, 11], [2, 3, 4], SUPPORTED, SUPPORTED),  # 4, 4.5 and 3.5 points
        ([10, 30, 2], [4, 4, 4], UNDECIDED, SUPPORTED),  # 3, 13 and -1: L1's spread would support
        ([4, 5, 6], [14, 16, 15], NOT_SUPPORTED, ARTIFACT),
        ([4, 4, 4], [14, 14, 14], UNDECIDED, SUPPORTED),  # no width
        ([4, 5], [14, 16], UNDECIDED, SUPPORTED),  # too few
    ],
)
def test_batch_topk_over_its_own_seeds(
    sft: list[int], rl: list[int], topk: str, verdict: str
) -> None:
    tails = specificity([60, 62, 62], [10, 11, 13])
    for name, counts in {"sft-5": sft, "rl-5": rl}.items():
        tails |= {f"{name}-topk-r{i}": tail(count) for i, count in enumerate(counts)}
    found = specific_features(family(specificity=tails))
    assert found.batch_topk is not None
    values = [(s - r) / 2 for s, r in zip(sft, rl, strict=True)]
    assert found.batch_topk["seeds"] == pytest.approx(values)
    # The same numbers as if these crosscoders were the study's own.
    alone = specific_features(family(specificity=specificity(sft, rl)))
    same = ("estimate", "low", "high")
    assert {k: found.batch_topk[k] for k in same} == {k: getattr(alone, k) for k in same}
    assert (found.batch_topk["verdict"], found.verdict) == (topk, verdict)
    assert "one seed" not in found.against
    assert f"BatchTopK: SFT {sft[0] / 2:.1f}%, {sft[1] / 2:.1f}%" in found.against


def test_a_claim_that_l1_does_not_support_is_no_artifact() -> None:
    tails = specificity([10, 12, 14], [60, 64, 62])
    tails |= {"sft-5-topk-r0": tail(4), "rl-5-topk-r0": tail(60)}
    assert specific_features(family(specificity=tails)).verdict == NOT_SUPPORTED
    alone = specificity([60], [10]) | {"sft-5-topk-r0": tail(4), "rl-5-topk-r0": tail(60)}
    found = specific_features(family(specificity=alone))
    assert found.verdict == UNDECIDED and found.batch_topk is not None
    assert (found.batch_topk["low"], found.batch_topk["verdict"]) == (None, UNDECIDED)


def test_one_feature_of_each_seed_decides_nothing() -> None:
    """The interval shows only how many features are alive, not how much seeds differ."""
    counts = zip((200, 204, 196), (1, 1, 1), (0, 0, 0), strict=True)
    family = {"specificity": {}}
    for seed, (alive, sft, rl) in enumerate(counts):
        family["specificity"] |= {
            f"sft-5-r{seed}": tail(sft) | {"alive": alive},
            f"rl-5-r{seed}": tail(rl) | {"alive": alive},
        }
    found = specific_features(family)
    assert found.low is not None and found.low > 0 and found.verdict == UNDECIDED
    assert found.reason.startswith("seeds differ by at most one feature, so they have no interval")


def test_mas_with_batch_topk() -> None:
    seeds = {f"r{i}": attributed(20 + i, 5) for i in range(3)}
    seeds |= {"swapped-r0": attributed(0, 0), "topk-r0": attributed(3, 13)}
    found = attributed_features(family(attribution=seeds))
    assert found.verdict == ARTIFACT and "BatchTopK: SFT 3.0%, RL 13.0%." in found.against
    assert found.reason.startswith("crosscoders with BatchTopK do not show it; latent scaling")
    seeds |= {f"topk-r{i}": attributed(13 + i, 3) for i in range(3)}
    found = attributed_features(family(attribution=seeds))
    assert found.verdict == SUPPORTED and found.batch_topk is not None
    assert found.batch_topk["seeds"] == [10, 11, 12]
    assert "BatchTopK: SFT 13.0%, 14.0%, 15.0%, RL 3.0%, 3.0%, 3.0%." in found.against


@pytest.mark.parametrize(
    ("swapped", "verdict", "why"),
    [
        (2, SUPPORTED, "latent"),  # 3 of 60: 5%
        (3, UNDECIDED, "the false fraction of SFT's features is 7%, more than 5%"),
        (58, UNDECIDED, "the false fraction of SFT's features is 98%"),
        (66, UNDECIDED, "the false fraction of SFT's features is 100%"),
        (68, NOT_SUPPORTED, "SFT's own 31.0% do not exceed the 34.0% of swapped models"),
    ],
)
def test_a_difference_from_rl_needs_features_beyond_sfts_own_null(
    swapped: int, verdict: str, why: str
) -> None:
    """SFT has 30, 32, 31% (31 -+ 2.5), RL a sixth of it. Swapped, both have the same tail, so that
    the difference of 25 -+ 2.5 points is far above its null of 0."""
    tails = specificity([60, 64, 62], [10, 12, 14])
    tails |= {f"{model}-5-swapped-r0": tail(swapped) for model in ("sft", "rl")}
    found = specific_features(family(specificity=tails))
    assert (found.null, found.verdict) == (0, verdict)
    assert found.reason.startswith(why)
    trios = {f"r{i}": attributed(n, 5) for i, n in enumerate((60, 64, 62))}
    trios["swapped-r0"] = attributed(swapped, swapped)
    by_mas = attributed_features(family(attribution=trios))
    if verdict != NOT_SUPPORTED:  # of 100 alive, so 62 -+ 5
        assert by_mas.verdict == verdict, "the same rule"
    assert "latent scaling confirms 30 of 60, 32 of 64, 31 of 62 of SFT's features" in by_mas.reason


def test_without_a_null_no_feature_counts_as_specific() -> None:
    tails = specificity([60, 64, 62], [10, 12, 14])
    del tails["sft-5-swapped-r0"], tails["rl-5-swapped-r0"]
    found = specific_features(family(specificity=tails))
    assert found.verdict == UNDECIDED and found.reason.startswith("SFT's features have no null")
    fewer = specificity([10, 12, 14], [60, 64, 62])
    del fewer["sft-5-swapped-r0"], fewer["rl-5-swapped-r0"]
    assert specific_features(family(specificity=fewer)).verdict == NOT_SUPPORTED


@pytest.mark.parametrize(("swapped", "verdict"), [(60, NOT_SUPPORTED), (58, UNDECIDED)])
def test_specific_features_that_swapped_models_have_too(swapped: int, verdict: str) -> None:
    """25 -+ 2.5 points, where a crosscoder of swapped models has 27.5 or more, or 27."""
    tails = specificity([60, 64, 62], [10, 12, 14])
    tails |= {"sft-5-swapped-r0": tail(swapped), "rl-5-swapped-r0": tail(4)}
    found = specific_features(family(specificity=tails))
    assert found.verdict == verdict
    assert found.reason.startswith("the difference with models swapped at random is +2")


@pytest.mark.parametrize(
    ("sft", "rl", "verdict"),
    [
        ([10, 12, 14], [60, 64, 62], NOT_SUPPORTED),
        ([0, 0, 0], [0, 0, 0], UNDECIDED),
        ([1, 1], [0, 0], UNDECIDED),  # one feature of 200 in both of two seeds
        ([60, 64], [10, 12], UNDECIDED),
        ([60, 10, 12], [10, 60, 10], UNDECIDED),
        ([60], [10], UNDECIDED),
    ],
)
def test_specific_features_otherwise(sft: list[int], rl: list[int], verdict: str) -> None:
    assert specific_features(family(specificity=specificity(sft, rl))).verdict == verdict


def test_mas_over_the_seeds_of_the_trio() -> None:
    found = attributed_features(family())
    assert found.seeds == [15, 16, 17] and found.verdict == SUPPORTED


def test_an_early_list_that_stays() -> None:
    """45 of 50, where shuffled norms give 25, and 30 at most."""
    found = early_features(family())
    assert (found.estimate, found.null, found.verdict) == (0.9, 0.6, SUPPORTED)
    assert (found.low, found.high) == (None, None), "features of one crosscoder have no interval"
    assert found.against == (
        "Claimed: above 0.6. SFT's first and last list share 45 of 50 in one crosscoder of all "
        "checkpoints, with norms shuffled over models 25 (90%: 20 to 30). SFT's lists of separate "
        "crosscoders share 20 of 50 by decoder direction, 9 by index (as in the paper). Other "
        "seeds reproduce 80%, 90% of SFT's last list."
    )


@pytest.mark.parametrize(
    ("count", "null", "other_seed", "verdict"),
    [
        (31, [25, 20, 30], [0.8], SUPPORTED),
        (30, [25, 20, 30], [0.8], UNDECIDED),  # as chance may give
        (25, [25, 20, 30], [0.8], NOT_SUPPORTED),  # as chance gives on average
        (25, [5, 3, 8], [0.8], UNDECIDED),  # more than chance gives, but not most of the list
        (26, [5, 3, 8], [0.8], SUPPORTED),
        (45, [25, 20, 30], [0.8, 0.4], UNDECIDED),  # not the same features with another seed
        (45, [25, 20, 30], [], UNDECIDED),
        (45, None, [0.8], UNDECIDED),  # crosscoders of single checkpoints
        (2, None, [0.8], UNDECIDED),
    ],
)
def test_an_early_list_otherwise(
    count: int, null: list[float] | None, other_seed: list[float], verdict: str
) -> None:
    sft = top_lists([40] * 4, count, other_seed, null)
    lists = family()["turnover"] | {"sft": sft}
    assert early_features(family(turnover=lists)).verdict == verdict


def test_turnover_of_rl_less_that_of_sft() -> None:
    """RL keeps 20 of 50 and SFT 45: 50 points. Shuffled norms: 30 - 16 of 50 at most, 28 points.
    In steps RL replaces 40, 44, 30, 40%, SFT 8, 6, 4, 2%: 32, 38, 26, 38 points more."""
    found = turnover(family())
    assert (found.estimate, found.null) == pytest.approx((50, 28))
    assert found.seeds == pytest.approx([32, 38, 26, 38])
    assert (found.verdict, found.low) == (SUPPORTED, None)
    assert found.reason == "in one crosscoder of all checkpoints, from one seed"
    assert found.each == "step", "they are not of several seeds"


@pytest.mark.parametrize(
    ("kept", "first_last", "verdict"),
    [
        ([30, 27, 35, 30], 30, SUPPORTED),  # 30 points
        ([30, 27, 35, 30], 31, UNDECIDED),  # 28 points, as chance may give
        ([30, 27, 35, 30], 41, NOT_SUPPORTED),  # 8 points, as chance gives on average
        ([30, 47, 35, 30], 20, UNDECIDED),  # one step in which SFT's list changes as much
        ([30, 26, 35, 30], 20, UNDECIDED),  # adjacent lists that share what chance may give
    ],
)
def test_turnover_otherwise(kept: list[int], first_last: int, verdict: str) -> None:
    rl = top_lists(kept, first_last, [0.7, 0.6], [21, 16, 26])
    assert turnover(family(turnover=family()["turnover"] | {"rl": rl})).verdict == verdict


def test_turnover_of_lists_that_no_seed_reproduces() -> None:
    lists = family()["turnover"]
    lists["rl"] = lists["rl"] | {"other_seed": [0.1]}
    found = turnover(family(turnover=lists))
    assert (found.verdict, found.reason) == (
        UNDECIDED,
        "another seed reproduces less than half of a list",
    )


def test_crosscoders_of_single_checkpoints_decide_nothing() -> None:
    """They are stated: 45 and 20 of 50 by direction, 9 by index."""
    sft = top_lists([46, 47, 48, 49], 45, [0.8])
    pairs = family(turnover={"sft": sft, "rl": top_lists([30, 25, 35, 30], 20, [0.7])})
    early, changing = early_features(pairs), turnover(pairs)
    assert (early.estimate, early.verdict) == (0.9, UNDECIDED)
    assert (changing.estimate, changing.verdict) == (pytest.approx(50), UNDECIDED)
    assert early.low is changing.low is None
    for verdict in (early, changing):
        assert verdict.reason.endswith("checkpoints in crosscoder.evidence decides")
        assert "45 of 50 by decoder direction, 9 by index (as in the paper)" in verdict.against


def test_one_checkpoint_has_no_history() -> None:
    one = {"checkpoints": [5], "common": {}, "index": {}, "together": None, "other_seed": [0.9]}
    alone = family(turnover={"sft": one, "rl": one})
    assert early_features(alone).verdict == turnover(alone).verdict == UNDECIDED
    assert early_features(alone).reason == turnover(alone).reason == "only one checkpoint"


def test_tasks_share_more_where_rl_wins() -> None:
    found = shared_features(family())
    assert found.seeds == pytest.approx([40, 40, 45]) and found.verdict == SUPPORTED
    assert "by seed: 4, 6, 5." in found.against


def test_tasks_that_share_more_only_with_l1() -> None:
    """BatchTopK: 30% where RL wins, 70% elsewhere; with three seeds of L1, 40, 40 and 42 points.
    With BatchTopK's own seeds 60, 61 and 62% where RL wins."""
    part = copy.deepcopy(family())
    part["evidence"]["overlap"] = {"won": cell(0.6, 0.6, 0.62)} | {
        name: cell(0.2, 0.2, 0.2) for name in ("both_right", "both_wrong", "lost")
    }
    part["evidence"]["features"] = [part["evidence"]["features"][0]] * 3
    others = {name: cell(0.7) for name in ("both_right", "both_wrong", "lost")}
    features = [{"protocol": {"all": {"intersection": 0}}}]
    found = shared_features(part)
    assert found.verdict == SUPPORTED
    part["batch_topk"] = {"overlap": {"won": cell(0.3)} | others, "features": features}
    found = shared_features(part)
    assert found.verdict == ARTIFACT and found.batch_topk is not None
    assert found.batch_topk["estimate"] == pytest.approx(-40)
    assert found.against.endswith("of those with L1). Selected with BatchTopK, by seed: 0.")
    overlap = {name: cell(0.2, 0.2, 0.2) for name in others} | {"won": cell(0.6, 0.61, 0.62)}
    part["batch_topk"] |= {"overlap": overlap, "features": features * 3}
    found = shared_features(part)
    assert found.verdict == SUPPORTED and found.batch_topk is not None
    assert found.batch_topk["seeds"] == pytest.approx([40, 41, 42])
    assert found.batch_topk["verdict"] == SUPPORTED
    assert found.against.endswith(": supported. Selected with BatchTopK, by seed: 0, 0, 0.")
    part["batch_topk"] = {"overlap": {"won": cell(0.3)} | others, "features": features}
    part["batch_topk"]["overlap"]["won"] = cell(None)
    found = shared_features(part)
    assert found.verdict == SUPPORTED and found.batch_topk is None


def test_tasks_that_share_as_much_elsewhere() -> None:
    """The most on other questions counts: 60, 70 and 65 points less 80, 90 and 80."""
    same = copy.deepcopy(family())
    same["evidence"]["overlap"]["both_wrong"] = cell(0.8, 0.9, 0.8)
    found = shared_features(same)
    assert found.seeds == pytest.approx([-20, -20, -15]) and found.verdict == NOT_SUPPORTED


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [((0, 0, 0), NOT_SUPPORTED), ((0, 0), UNDECIDED), ((4, 0, 5), UNDECIDED)],
)
def test_no_feature_passes_in_all_tasks(counts: tuple[int, ...], verdict: str) -> None:
    none = copy.deepcopy(family())
    none["evidence"]["features"] = [selected(n) for n in counts]
    assert shared_features(none).verdict == verdict


def test_a_seed_without_a_value_decides_nothing() -> None:
    part = copy.deepcopy(family())
    part["evidence"]["overlap"]["won"] = cell(0.6, None, 0.65)
    found = shared_features(part)
    assert found.seeds == pytest.approx([40, 45]) and found.verdict == UNDECIDED
    assert found.reason == "2 of 3 seeds have a value"


def test_values_without_a_spread_decide_nothing() -> None:
    """SFT has 1 and RL 0 of 200 features in each of three seeds: 0.5 points, and no interval."""
    found = specific_features(family(specificity=specificity([1, 1, 1], [0, 0, 0])))
    assert (found.estimate, found.low, found.high) == (0.5, 0.5, 0.5)
    assert found.verdict == UNDECIDED and found.reason.startswith("all values are the same")
    none = specific_features(family(specificity=specificity([0, 0, 0], [0, 0, 0])))
    assert none.verdict == UNDECIDED
    assert none.reason.endswith("so they have no interval; SFT has no such feature")
    two = specific_features(family(specificity=specificity([60, 64], [10, 12])))
    assert two.verdict == UNDECIDED and two.reason.startswith("fewer than 3 seeds")


def test_a_task_without_critical_samples_decides_nothing() -> None:
    """Held-out tasks, here PIQA, do not matter: nothing is selected on them."""
    lost = copy.deepcopy(family())
    lost["critical"]["sciq"]["critical"] = 0
    lost["evidence"]["features"] = [selected(0)] * 3
    found = shared_features(lost)
    assert (found.verdict, found.reason) == (UNDECIDED, "RL wins no question of SciQ")


def test_an_intervention_keeps_the_verdict_of_its_hypothesis() -> None:
    found = intervention("amplify", family())
    assert (found.estimate, found.low, found.high, found.verdict) == (3.0, 0.5, 6.0, SUPPORTED)
    assert found.seeds == [4.0, 2.0, 3.0]
    assert found.against == (
        "Claimed: above 0. Selected features: +4.50 [+1.50, +7.00] on 40 edited questions. "
        "99 valid matched control sets; to be supported, 79 are needed (worst match 1.6 calipers, "
        "largest scaling 4.0): mean +1.00, range -2.00 to +3.00. Different features in the control "
        "sets of a split, by seed at least 34, 36, 35. SFT as a control: no valid comparison. The "
        "other model's complete state: +9.00 (net). Detectable excess: +2.50. Accuracy of "
        "guessing: 25%."
    )
    lowered = copy.deepcopy(family())
    lowered["evidence"]["hypotheses"]["amplify"]["sign"] = -1
    assert intervention("amplify", lowered).against.startswith("Claimed: below 0.")


def test_an_intervention_says_what_was_compared() -> None:
    sft = {
        "value": 1.0, "control_mean": 0.5, "controls": 19, "excess": 0.5, "low": -1.0, "high": 2.0,
    }  # fmt: skip
    part = copy.deepcopy(family())
    changes = {"seeds_with_set": 2, "sft_control": sft, "target": "rl"}
    part["evidence"]["hypotheses"]["amplify"] |= changes
    part["evidence"]["hypotheses"]["amplify"]["per_seed"][1]["compared"] = 20
    found = intervention("amplify", part).against
    assert "2 of 3 seeds have a set. Edited questions by seed: 40, 20, 40 of 40." in found
    assert "SFT model: +1.00, minus the mean of 19 controls +0.50 [-1.00, +2.00]." in found
    part["evidence"]["hypotheses"]["amplify"]["target"] = "base"
    found = intervention("amplify", part).against
    assert "SFT's features instead: +0.50; difference +0.50 [-1.00, +2.00]." in found
    assert "BatchTopK" not in found
    part["evidence"]["hypotheses"]["amplify"]["batch_topk"] = sft
    found = intervention("amplify", part).against
    with_topk = "Features selected with BatchTopK (one seed): +1.00, minus the mean of 19 controls"
    assert f"{with_topk} +0.50 [-1.00, +2.00]." in found


def test_an_intervention_states_the_gap_test_of_its_questions() -> None:
    row = {"model": "rl", "task": "tasks", "code": "swap", "verdict": SUPPORTED}
    kept = row | {"recovered": 0.8, "recovered_low": 0.6, "recovered_high": 1.0}
    rows = [kept | {"task": "held_out"}, kept | {"model": "sft"}, kept]
    said = "Gap test: the reconstruction keeps 80% of RL's gain on these questions [60%, 100%]"
    assert (
        f"{said}: more than half is supported." in intervention("amplify", family(gap=rows)).against
    )
    rows[2] = row | {"recovered": None}
    found = intervention("amplify", family(gap=rows)).against
    assert "Gap test: RL's gain on these questions is not above 0." in found
    assert "Gap test" not in intervention("amplify", family(gap=rows[:2])).against


def test_an_intervention_says_which_edits_had_nothing_to_edit() -> None:
    part = copy.deepcopy(family())
    rows = part["evidence"]["comparisons"]["base"]
    kept = [row for row in rows if row["against"] not in ("sft", "steering")]
    elsewhere = compared_with("sft") | {"questions": "held_out"}
    part["evidence"]["comparisons"]["base"] = [*kept, elsewhere]
    found = intervention("amplify", part).against
    assert "Without a set to edit, or of another size: SFT's features, steering vector." in found
    part["evidence"]["comparisons"] = {}
    assert ": next best features, SFT's features, random" in intervention("amplify", part).against


def test_an_intervention_whose_measure_has_no_value() -> None:
    """Directedness where no edit changes an answer on which base and RL differ."""
    nothing = {"count": 99, "mean": None, "low": None, "high": None, "largest_scaling": 1.0}
    changes = {"measure": "directedness", "estimate": None, "excess": None, "detectable": None}
    changes |= {"interval": [None, None], "controls": nothing, "verdict": UNDECIDED}
    part = copy.deepcopy(family())
    part["evidence"]["hypotheses"]["amplify"] |= changes
    found = intervention("amplify", part)
    assert (found.estimate, found.low, found.seeds) == (None, None, [])
    assert "mean –, range – to –." in found.against


def test_an_intervention_without_features() -> None:
    bare = {k: v for k, v in hypothesis().items() if k in ("target", "questions", "measure")}
    bare |= {"verdict": UNDECIDED, "reason": "no seed has both", "features": PRIMARY}
    bare["effect"] = None
    none = copy.deepcopy(family())
    none["evidence"]["hypotheses"] = {"amplify": bare}
    found = intervention("amplify", none)
    assert (found.estimate, found.verdict, found.reason) == (None, UNDECIDED, "no seed has both")
    assert found.against == "No seed has a set."
    bare |= {"batch_topk": None, "effect": hypothesis()["effect"]}
    found = intervention("amplify", none)
    own = "Selected features: +4.50 [+1.50, +7.00] on 40 edited questions."
    assert found.against == f"{own} Features selected with BatchTopK: no valid comparison."


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({}, "Amplifying the features most consistent over tasks raises base's accuracy"),
        (
            {"target": "rl", "questions": "held_out"},
            "Zeroing the features most consistent over tasks lowers RL's accuracy on held-out "
            "tasks",
        ),
        (
            {"measure": "directedness"},
            "Amplifying the features most consistent over tasks turns base's answers into RL's",
        ),
        (
            {"target": "rl", "measure": "critical", "questions": "held_out"},
            "Zeroing the features most consistent over tasks lowers RL's accuracy on critical "
            "samples of held-out tasks",
        ),
    ],
)
def test_a_hypothesis_as_a_claim(changes: dict[str, str], claim: str) -> None:
    assert claim_of(hypothesis(**changes)) == claim


def test_families_must_agree() -> None:
    other = family(specificity=specificity([10, 12, 14], [60, 64, 62]))
    found = verdicts({"one": family(), "other": other})
    assert [entry["verdict"] for entry in found] == [UNDECIDED, *[SUPPORTED] * 5]
    assert found[0]["families"]["other"]["verdict"] == NOT_SUPPORTED
    assert len(verdicts({"one": family()})) == 6


def test_norms_by_model_and_seed() -> None:
    rows = [
        (0, 1, 0.1, 0.6, 0.3),
        (0, 1, 0.3, 0.1, 0.6),
        (0, 0, 0.0, 0.9, 0.1),
        (1, 1, 0.9, 0, 0.1),
    ]
    columns = ["replicate", "alive", "mas_base", "mas_sft", "mas_rl"]
    table = pd.DataFrame(rows, columns=columns).assign(crosscoder="trio", pattern="sft-5")
    for model, star in (("base", 0.0), ("sft", 0.6), ("rl", 0.4)):
        table[f"mas_{model}_star"] = star
    swapped = table[table["replicate"] == 0].assign(crosscoder="trio-swapped")
    found = attribution(pd.concat([table, swapped, swapped.assign(crosscoder="trio-topk")]))
    stars = {"base_star_above_0.5": 0, "sft_star_above_0.5": 2, "rl_star_above_0.5": 0}
    expected = {"alive": 2, "base_above_0.5": 0, "sft_above_0.5": 1, "rl_above_0.5": 1}
    expected |= {"base_specific": 0, "sft_specific": 1, "rl_specific": 0}
    assert found["r0"] == found["swapped-r0"] == found["topk-r0"] == expected | stars
    assert found["r1"]["base_above_0.5"] == 1


def test_a_crosscoder_without_alive_features_has_numbers_too() -> None:
    """Nothing is alive in RL's: its numbers are 0, its spread is unknown, and no claim fails."""
    rows = [("sft-5", 0, 1, 0.9, 0.8, 0.1, 0.9), ("sft-5", 0, 1, 0.5, 0.5, 0.9, 0.9)]
    rows += [("sft-5", 0, 0, 0.9, 0.9, 0.9, 0.9), ("rl-5", 0, 0, 0.9, 0.9, 0.9, 0.9)]
    columns = ["crosscoder", "replicate", "alive", "nrn", "nrn_star", "r2_base", "r2_tuned"]
    patterns = ["sft-5", "sft-5", "sft-5", "rl-5"]
    found = tails(pd.DataFrame(rows, columns=columns).assign(pattern=patterns))
    sft, rl = found["sft-5-r0"], found["rl-5-r0"]
    assert (sft["alive"], sft["above_0.7"], sft["star_above_0.7"]) == (2, 1, 1)
    assert (sft["specific"], rl["specific"]) == (1, 0), "of those far from shared and alive"
    assert sft["std"] == pytest.approx(0.2)
    assert sft["r2_above_0.7"] == {"base": 0.1, "tuned": 0.9}
    assert (rl["alive"], rl["above_0.7"], rl["std"]) == (0, 0, None)
    assert specific_features(family(specificity=found)).verdict == UNDECIDED
    said = about_specificity("A", found)
    assert "SFT: 1 of 2. RL: 0 of 0. Latent scaling confirms 1 and 0" in said
    assert "0.200 for SFT, – for RL." in said


def test_attributed_features_that_swapped_models_have_too() -> None:
    seeds = {f"r{n}": attributed(20 + n, 10) for n in range(3)}
    null = {"swapped-r0": attributed(40, 10)}
    found = attributed_features(family(attribution=seeds | null))
    assert (found.estimate, found.null, found.verdict) == (11, 30, NOT_SUPPORTED)
    assert "swapped at random: SFT 40.0%, RL 10.0%." in found.against


def test_lists_in_common() -> None:
    rows = [("sft", 1, 1, "index", 40), ("sft", 5, 5, "index", 50), ("sft", 1, 5, "index", 3)]
    rows += [("sft", 1, 5, "matched", 20), ("sft", 5, 5, "matched", 50)]
    rows += [("sft", 5, 5, "replicate_matched", 30), ("sft", 5, 5, "replicate_index", 0)]
    table = pd.DataFrame(rows, columns=["paradigm", "a", "b", "kind", "overlap"])
    lists = turnover_numbers(table)["sft"]
    assert (lists["checkpoints"], lists["other_seed"]) == ([1, 5], [0.6])
    assert (lists["common"], lists["index"]) == ({"1-5": [20, 40]}, {"1-5": [3, 40]})
    assert lists["together"] is None
    rows = [("sft", 1, 1, "together", 50), ("sft", 1, 5, "together", 12)]
    rows += [("sft", 5, 5, "together", 45), ("sft", 5, 5, "together_null", 20.5)]
    rows += [("sft", 5, 5, "together_null_low", 15), ("sft", 5, 5, "together_null_high", 26)]
    with_one = pd.concat([table, pd.DataFrame(rows, columns=table.columns)])
    one = turnover_numbers(with_one)["sft"]["together"]
    null = {"mean": 20.5, "low": 15.0, "high": 26.0}
    assert one == {"common": {"1-5": [12, 45]}, "null": null}
