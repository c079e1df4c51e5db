"""NRN, MAS, overlap and rank shifts on worked numbers."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from crosslens.analysis import specificity
from crosslens.analysis.specificity import (
    best_matches,
    index_overlap,
    l1_norms,
    mas,
    matched_overlap,
    nrn,
    null_in_one,
    overlap_in_one,
    overlap_table,
    rank_shifts,
    top_features,
    tops_in_one,
)
from crosslens.crosscoder.model import Crosscoder

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import measure_overlap  # noqa: E402
import measure_rank_shifts  # noqa: E402
import score_specificity  # noqa: E402

NORMS = torch.tensor([[1.0, 3.0, 0.0, 2.0], [3.0, 1.0, 5.0, 2.0]])


def test_l1_norms():
    W_dec = torch.tensor([[[1.0, -2.0], [0.0, 0.5]], [[-3.0, 0.0], [0.0, 0.0]]])
    assert l1_norms(W_dec).tolist() == [[3.0, 0.5], [3.0, 0.0]]


def test_nrn():
    """Eq. 4: the tuned model's share."""
    assert nrn(NORMS).tolist() == [0.75, 0.25, 1.0, 0.5]


def test_nrn_of_a_feature_without_decoders_is_undefined():
    assert nrn(torch.zeros(2, 1)).isnan().all()


def test_mas():
    """Eqs. 8-10: 1, 2 and 5 of 8; a feature of one model alone."""
    scores = mas(torch.tensor([[1.0, 0.0], [2.0, 0.0], [5.0, 4.0]]))
    torch.testing.assert_close(scores, torch.tensor([[0.125, 0.0], [0.25, 0.0], [0.625, 1.0]]))
    torch.testing.assert_close(scores.sum(dim=0), torch.ones(2))


def test_folding_undoes_the_scales():
    """The tuned model's activations were halved: its decoder is half as long as it should be."""
    crosscoder = Crosscoder(2, 2, 1)
    with torch.no_grad():
        crosscoder.W_dec.copy_(torch.tensor([[[2.0, 0.0]], [[1.0, 0.0]]]))
    crosscoder.scales.copy_(torch.tensor([1.0, 0.5]))
    norms = l1_norms(crosscoder.directions())
    assert norms.tolist() == [[2.0], [2.0]]
    assert nrn(norms).item() == 0.5


def table(scores, alive=None, name="sft-1", replicate=0):
    return pd.DataFrame(
        {
            "crosscoder": name,
            "replicate": replicate,
            "feature": range(len(scores)),
            "nrn": scores,
            "alive": alive or [1] * len(scores),
        }
    )


def test_top_features_are_alive_highest_first_ties_by_index():
    scores = [0.5, 0.9, 0.7, 0.7, 0.99, np.nan]
    assert top_features(table(scores, [1, 1, 1, 1, 0, 1]), 3) == [1, 2, 3]


def test_overlap_by_index():
    assert index_overlap([1, 2, 3], [3, 4, 1]) == 2


def test_overlap_by_direction_finds_the_same_features_under_other_indices():
    a = torch.eye(4)[:3]
    b = 5 * torch.eye(4)[[2, 0, 3]] + 0.01
    assert matched_overlap(a, b, 0.7) == 2
    assert matched_overlap(a, -a, 0.7) == 0
    assert matched_overlap(a[:0], b, 0.7) == 0


def test_a_direction_is_matched_once():
    a = torch.tensor([[1.0, 0.0], [1.0, 0.01]])
    assert matched_overlap(a, torch.tensor([[1.0, 0.0]]), 0.7) == 1


def test_the_threshold_is_on_the_cosine():
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.8, 0.6]])
    assert matched_overlap(a, b, threshold=0.79) == 1
    assert matched_overlap(a, b, threshold=0.81) == 0


@pytest.mark.parametrize("chunk", [1, 3, 4096])
def test_the_best_match_is_over_the_vectors_of_all_models(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """Feature 0 is (1, 0) in both models, feature 1 is (0, 1) in both."""
    monkeypatch.setattr(specificity, "CHUNK", chunk)
    a = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]])
    # Feature 0's direction in one model only; in both, by 3 to 4; feature 1 itself; half of it.
    first = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    second = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 1.0], [-1.0, 1.0]])
    b = torch.stack([first, second])
    every = best_matches(a, b, np.array([True, True, True, True]))
    assert every.tolist() == pytest.approx([7 / (5 * 2**0.5), 1.0])
    without = best_matches(a, b, np.array([True, False, False, True]))  # dead ones do not count
    assert without.tolist() == pytest.approx([1 / 2**0.5, 1 / 2**0.5])
    assert best_matches(a, b, np.zeros(4, dtype=bool)).isnan().all()


def test_overlap_table_has_every_pair_of_checkpoints_and_both_kinds():
    tops = {1: [0, 1], 2: [1, 2], 3: [3, 0]}
    result = overlap_table(tops, {c: torch.eye(4) for c in tops}, "rl", 0.7)
    index = result[result["kind"] == "index"].set_index(["a", "b"])["overlap"].to_dict()
    assert index == {(1, 1): 2, (1, 2): 1, (1, 3): 1, (2, 2): 2, (2, 3): 0, (3, 3): 2}
    matched = result[result["kind"] == "matched"].set_index(["a", "b"])["overlap"].to_dict()
    assert matched == index  # the same decoders: direction and index agree


CHECKPOINTS = ["base", *(f"rl-{k}" for k in range(1, 6))]


def test_lists_within_one_crosscoder_are_by_nrn_against_base():
    """Feature 0 grows with training, 1 appears and goes, 2 is dead, 3 is base's."""
    grown, gone = [1, 1, 2, 3, 4, 9], [1, 9, 8, 1, 1, 1]
    norms = torch.tensor([grown, gone, [0, *[9] * 5], [4, *[1] * 5]]).T.float()
    alive = np.array([True, True, False, True])
    tops = tops_in_one(CHECKPOINTS, norms, alive, 1)
    assert tops == {1: [1], 2: [1], 3: [0], 4: [0], 5: [0]}
    found = overlap_in_one(CHECKPOINTS, norms, alive, 1).set_index(["kind", "a", "b"])["overlap"]
    assert (found["together", 1, 2], found["together", 2, 3], found["together", 3, 5]) == (1, 0, 1)


def test_the_null_within_one_crosscoder_is_that_of_models_without_order():
    """Planted: 20 of 400 features belong to all checkpoints and not to base, so that all lists are
    the same. With norms shuffled over models a list still holds what base happens to lack."""
    norms = torch.rand(6, 400, generator=torch.manual_seed(1)) * 0.2 + 1
    norms[0, :20] = 0.01
    alive = np.ones(400, dtype=bool)
    found = overlap_in_one(CHECKPOINTS, norms, alive, 20).set_index("kind")["overlap"]
    assert (found["together"] == 20).all()
    null = null_in_one(CHECKPOINTS, norms, alive, 20)
    assert len(null) == 99 * 10 and 20 * 20 / 400 < null.mean() < 15
    assert found["together_null"] == null.mean() <= found["together_null_high"] < 20
    assert (
        np.mean(null < found["together_null_low"])
        <= 0.05
        < np.mean(null <= found["together_null_low"])
    )
    # Noise alone, without any feature of a model, does not exceed its null.
    noise = torch.rand(6, 400, generator=torch.manual_seed(2)) + 1
    found = overlap_in_one(CHECKPOINTS, noise, alive, 20).set_index(["kind", "a", "b"])["overlap"]
    apart = found.loc["together"].drop([(k, k) for k in range(1, 6)])
    assert apart.mean() == pytest.approx(found["together_null"].item(), abs=3)


def test_rank_shifts_of_adjacent_checkpoints():
    """4 rises from 3 to 1, 5 falls from 1 to 2; 6 and 7 have no rank in the other list."""
    result = rank_shifts({1: [5, 6, 4], 2: [4, 5, 7]}, "sft").set_index("feature")
    assert result["shift"].loc[[4, 5]].tolist() == [2, -1]
    assert result["shift"].loc[[6, 7]].isna().all()
    assert result["rank_from"].loc[6] == 2 and np.isnan(result["rank_to"].loc[6])
    assert result["rank_to"].loc[7] == 3 and np.isnan(result["rank_from"].loc[7])
    assert set(zip(result["from"], result["to"], strict=True)) == {(1, 2)}


def save_crosscoder(folder, models, seed):
    """Save a crosscoder of random decoders and its feature table; feature 0 is dead."""
    crosscoder = Crosscoder(len(models), 4, 6, seed=seed, metadata={"models": models})
    with torch.no_grad():
        crosscoder.W_dec.copy_(torch.randn(len(models), 6, 4, generator=torch.manual_seed(seed)))
    crosscoder.scales.copy_(torch.arange(1.0, len(models) + 1))
    crosscoder.save(folder / "crosscoder.safetensors")
    table = pd.DataFrame({"feature": range(6), "alive": [0, 1, 1, 1, 1, 1]})
    table["pattern"] = models[-1]
    for i, model in enumerate(models):
        table[f"share_{model}"] = (i + 1) / sum(range(1, len(models) + 1))
        table[f"r2_{model}"] = i / 10
    table.to_csv(folder / "features.csv", index=False)
    return folder / "crosscoder.safetensors"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Ten pairs, a replicate of two of them (rl-5: an equal one), and two trios, with metrics."""
    root = tmp_path_factory.mktemp("crosscoders")
    names = [f"{p}-{k}-r0" for p in ("sft", "rl") for k in range(1, 6)]
    seeds = {name: seed for seed, name in enumerate(names)}
    seeds |= {"sft-5-r1": 99, "rl-5-r1": seeds["rl-5-r0"]}
    seeds |= {"rl-5-swapped-r0": 70}
    pairs = [
        save_crosscoder(root / n, ["base", n[:5].rstrip("-")], seed) for n, seed in seeds.items()
    ]
    trios = [
        save_crosscoder(root / f"trio-r{r}", ["base", "sft-5", "rl-5"], 50 + r) for r in (0, 1)
    ]
    nrn_out, mas_out = root / "nrn.csv", root / "mas.csv"
    outputs = {"nrn_out": nrn_out, "mas_out": mas_out, "tails": root / "tails.csv"}
    score_specificity.main(pairs=pairs, trios=trios, **outputs)
    models = ["base", *(f"rl-{k}" for k in range(1, 6))]
    together = [save_crosscoder(root / "rl-checkpoints-r0", models, 60)]
    overlap = root / "overlap.csv"
    differences = [save_crosscoder(root / "rl-5-differences-r0", ["rl-5-base"], 61)]
    measure_overlap.main(
        nrn=nrn_out,
        root=root,
        together=together,
        differences=differences,
        count=3,
        match_cosine=0.7,
        overlap_out=overlap,
        differences_out=root / "differences.csv",
    )
    out = root / "rank-shifts.csv"
    measure_rank_shifts.main(nrn=nrn_out, together=together, count=3, out=out)
    return root


def test_nrn_table(study):
    result = pd.read_csv(study / "nrn.csv")
    assert list(result.columns) == [
        "crosscoder",
        "replicate",
        "feature",
        "alive",
        "pattern",
        "nrn",
        "nrn_folded",
        "nrn_star",
        "r2_base",
        "r2_tuned",
    ]
    assert (result["r2_base"] == 0).all() and (result["r2_tuned"] == 0.1).all()
    assert len(result) == 13 * 6
    assert result["nrn_star"].round(3).eq(0.667).all()
    crosscoder = Crosscoder.load(study / "sft-3-r0" / "crosscoder.safetensors")
    base, tuned = crosscoder.W_dec.detach().abs().sum(dim=-1).numpy()
    rows = result[(result["crosscoder"] == "sft-3") & (result["replicate"] == 0)]
    np.testing.assert_allclose(rows["nrn"], tuned / (base + tuned), rtol=1e-5)
    np.testing.assert_allclose(rows["nrn_folded"], tuned / 2 / (base + tuned / 2), rtol=1e-5)


def test_mas_table(study):
    result = pd.read_csv(study / "mas.csv")
    for suffix in ("", "_folded"):
        total = sum(result[f"mas_{m}{suffix}"] for m in ("base", "sft", "rl"))
        np.testing.assert_allclose(total, 1, rtol=1e-5)
    assert result["replicate"].tolist() == [0] * 6 + [1] * 6
    assert result["alive"].tolist() == [0, 1, 1, 1, 1, 1] * 2


def test_tails_are_held_against_swapped_rows(study):
    result = pd.read_csv(study / "tails.csv")
    nrn = pd.read_csv(study / "nrn.csv").query("alive == 1 and replicate == 0")
    rows = result.query("crosscoder == 'rl-5' and measure == 'NRN' and threshold == 0.6")
    for _, row in rows[rows["replicate"] == 0].iterrows():
        shares = nrn["nrn"] if row["model"] == "tuned" else 1 - nrn["nrn"]
        count, null = (
            (shares[nrn["crosscoder"] == name] > 0.6).sum() for name in ("rl-5", "rl-5-swapped")
        )
        assert (row["count"], row["null_swapped"]) == (count, null)
        assert row["q_swapped"] == (min(1, (1 + null) / count) if count else 1)
        assert row["specific"] == (count if row["model"] == "tuned" else 0)
    assert result.query("crosscoder == 'trio'")["q_swapped"].isna().all()
    assert set(result["measure"]) == {"NRN", "NRN*", "MAS", "MAS*"}


def test_overlap_file_has_the_checkpoints_and_the_replicate_null(study):
    result = pd.read_csv(study / "overlap.csv").set_index(["paradigm", "a", "b", "kind"])["overlap"]
    assert len(result) == 2 * (15 * 2 + 2) + 15 + 3
    assert 0 < result["rl", 5, 5, "together_null"] <= result["rl", 5, 5, "together_null_high"] <= 3
    together = result.xs("together", level="kind")
    assert (together.loc[[("rl", k, k) for k in range(1, 6)]] == 3).all()
    assert (result.xs("index", level="kind").loc[[("sft", k, k) for k in range(1, 6)]] == 3).all()
    assert result["rl", 5, 5, "replicate_index"] == result["rl", 5, 5, "replicate_matched"] == 3
    assert result["sft", 5, 5, "replicate_matched"] < 3


def test_rank_shift_file(study):
    result = pd.read_csv(study / "rank-shifts.csv")
    drawn = (("sft", "pairs"), ("rl", "pairs"), ("rl", "together"))
    steps = {(*p, k, k + 1) for p in drawn for k in range(1, 5)}
    keys = ["paradigm", "kind", "from", "to"]
    assert set(result[keys].itertuples(index=False, name=None)) == steps
    assert result["feature"].min() > 0  # the dead feature never ranks
    both = result["rank_from"].notna() & result["rank_to"].notna()
    assert (result["shift"].notna() == both).all()


def test_features_of_differences_are_matched_by_pair(study):
    (row,) = pd.read_csv(study / "differences.csv").to_dict("records")
    assert row["crosscoder"] == "rl-5"
    assert (row["specific"], row["other"], row["differences"]) == (3, 2, 5), "3 are asked for"
