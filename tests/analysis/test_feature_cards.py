"""Feature cards: which features have one, and what it holds, on a planted feature."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_models import LETTERS, letter_tokenizer, tiny_network
from tokenizers import Tokenizer, decoders, models
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from crosslens.activations.extract import residual_stream
from crosslens.analysis.context_pool import STRONGEST, WEAKEST
from crosslens.analysis.difference_lens import PLACES
from crosslens.analysis.feature_cards import (
    LATENT_SCALING,
    SCORES,
    Measured,
    Shown,
    cards,
    chosen_features,
    cosines,
    in_order,
    matched_controls,
    read_heads,
    scores_by_task,
    token_texts,
)
from crosslens.analysis.heldout_reading import Reading, batches_of, read_texts
from crosslens.analysis.logit_lens import logit_lens
from crosslens.crosscoder.model import Crosscoder
from crosslens.models.decoder import body_of, truncate

MODELS = ["base", "sft-5", "rl-5"]


def mas_table() -> pd.DataFrame:
    """Six features: 0 is base's, 1 SFT's, 2 RL's, 3 and 4 shared, 5 dead."""
    shares = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], *[[1 / 3] * 3] * 3]
    stars = {
        f"mas_{role}_star": [s[i] for s in shares] for i, role in enumerate(["base", "sft", "rl"])
    }
    patterns = ["base", "sft-5", "rl-5", "base+sft-5+rl-5", "too rare", "too rare"]
    alive = [1, 1, 1, 1, 1, 0]
    return pd.DataFrame({"feature": range(6), "alive": alive, "pattern": patterns, **stars})


def selection(chosen: list[int], controls: list[list[int]]) -> dict[str, Any]:
    """Return of features.json what cards need: one set that all tasks select, with controls."""
    sets = {"intersection": chosen, "primary": chosen, "majority": []}
    drawn = {"primary": controls, "majority": []}
    return {**sets, "protocol": {"all": {**sets, "controls": drawn}}}


def test_chosen_features_have_their_reasons() -> None:
    reasons = chosen_features(mas_table(), selection([3, 0], [[4, 1]]), each=1, seed=0)
    assert reasons[1] == ["most specific to SFT"]
    assert reasons[2][0] == "most specific to RL"
    assert "most specific to base" in reasons[0]
    assert "selected in all or most tasks" in reasons[3]
    assert "matched control" in reasons[4]
    assert "matched control" not in reasons[1]  # only one of a kind
    assert sum("drawn at random" in found for found in reasons.values()) == 1
    assert list(reasons)[:3] == [1, 2, 0]
    many = chosen_features(mas_table(), selection([], []), each=50, seed=0)
    assert 5 not in many  # it is dead
    assert many[4] == ["drawn at random"]  # too rare for MAS*


@pytest.fixture(scope="module")
def study() -> tuple[Crosscoder, list[torch.nn.Module], np.ndarray]:
    """Three tiny models, and a crosscoder whose feature 1 fires on the letter q, most in RL."""
    networks = [truncate(body_of(tiny_network("qwen3", seed=i)), 2) for i in range(3)]
    tokenizer = letter_tokenizer()
    rows = np.random.default_rng(0).choice(tokenizer.convert_tokens_to_ids(list(LETTERS)), (40, 12))
    ids = torch.from_numpy(rows)
    with torch.no_grad():
        streams = torch.stack([residual_stream(n, ids) for n in networks], dim=2)
    crosscoder = Crosscoder(3, streams.shape[-1], 4, metadata={"models": MODELS, "layer": 2})
    is_q = ids == tokenizer.convert_tokens_to_ids("q")
    with torch.no_grad():
        flat = streams.flatten(2)
        target = is_q.float().flatten()
        design = torch.cat([flat.flatten(0, 1), torch.ones(target.numel(), 1)], dim=1)
        solved = torch.linalg.lstsq(design, target[:, None]).solution[:, 0]
        crosscoder.W_enc[:, :, 1] = solved[:-1].view(3, -1)
        crosscoder.b_enc[1] = solved[-1] - 0.3
        crosscoder.b_enc[3] = -1e4
    return crosscoder, networks, rows


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Save the three models of `study` with their heads."""
    paths = [tmp_path_factory.mktemp(name) for name in MODELS]
    for seed, path in enumerate(paths):
        tiny_network("qwen3", seed=seed).save_pretrained(path)
    return paths


def reading(study, features: Sequence[int], sinks: float = 1e9) -> tuple[Crosscoder, Reading]:
    """Read the texts of `study`, every other one of source a, the others of b."""
    crosscoder, networks, rows = study
    part = crosscoder.restricted(features)
    source = np.arange(len(rows)) % 2
    return part, read_texts(part, networks, batches_of(rows, source, 16), ["a", "b"], 1, sinks)


def test_one_pass_counts_what_fires(study) -> None:
    crosscoder, networks, rows = study
    part, found = reading(study, [1, 3])
    with torch.no_grad():
        x = torch.stack([residual_stream(n, torch.from_numpy(rows)) for n in networks], dim=2)
        f = crosscoder.encode(x.flatten(0, 1)).view(*rows.shape, -1)[:, 1:]
    for position, feature in enumerate([1, 3]):
        fires = f[:, :, feature] > 0
        assert found.firings[position].tolist() == [fires[0::2].sum(), fires[1::2].sum()]
        assert found.histogram[position].sum() == fires.sum()
    assert found.tokens.tolist() == [20 * 11, 20 * 11]
    kept = found.pool.kept
    best = kept.take((kept.feature == 0) & (kept.kind == STRONGEST))
    assert best.value[0] == pytest.approx(f[:, :, 1].max().item(), rel=1e-5)
    assert len(part.b_enc) == 2


def measured() -> Measured:
    """Return the numbers of features 1 and 3: the second has no R^2, match or cell."""
    roles = [f"mas_{role}{star}" for role in ("base", "sft", "rl") for star in ("", "_star")]
    row = {"rate": 0.04, "pattern": "rl-5", "r2_base": 0.123456, "r2_sft-5": np.nan, "r2_rl-5": 1.0}
    row |= {f"{name}_{m}": np.nan for name in LATENT_SCALING for m in MODELS}
    row |= {"stderr_rl-5": 0.0123456, "nu_reconstruction_base": -0.25}
    scores = pd.DataFrame([[0.12345678, 1, 2, 3, 4, 5], [0, 0, np.nan, 0, 0, 0]], index=[1, 3])
    scores.columns = pd.MultiIndex.from_product([SCORES, ["sciq"]])
    return Measured(
        pd.DataFrame(dict.fromkeys(roles, 1 / 3), index=[1, 3]),
        pd.DataFrame(row, index=[1, 3]),
        scores,
        pd.DataFrame({"trio-r1": [0.98765432, np.nan]}, index=[1, 3]),
    )


def test_a_card_shows_the_planted_letter(study, directories) -> None:
    part, found = reading(study, [1, 3])
    tokenizer = letter_tokenizer()
    lenses, _ = read_heads(part, found, directories, tokenizer)
    planted, dead = cards(
        {1: ["most specific to RL"], 3: ["matched control", "drawn at random"]},
        selection([2], [[3]]),
        measured(),
        Shown(part, found, lenses, tokenizer),
        "ab12",
    )
    assert [planted["feature"], dead["feature"]] == [1, 3]
    assert [planted["reasons"], dead["reasons"]] == [
        ["most specific to RL"],
        ["matched control", "drawn at random"],
    ]
    assert [planted["replaces"], dead["replaces"]] == [None, 2]
    shown = [c["tokens"][c["at"]].strip() for c in planted["contexts"]["strongest"]]
    assert shown
    assert set(shown) == {"q"}
    for context in planted["contexts"]["strongest"]:
        assert context["codes"]["joint"][context["at"]] == context["value"]
        assert set(context["codes"]) == {"joint", *MODELS}
        assert (
            len({len(codes) for codes in context["codes"].values()} | {len(context["tokens"])}) == 1
        )
    assert [planted["crosscoder"], dead["crosscoder"]] == ["ab12", "ab12"]
    assert planted["scores"]["sciq"]["score"] == 0.1235
    assert planted["scores"]["sciq"] | {"score": 0} == dict(zip(SCORES, range(6), strict=True))
    assert dead["scores"]["sciq"]["lost"] is None
    assert planted["latent_scaling"]["stderr"]["rl-5"] == 0.01235
    assert planted["latent_scaling"]["nu_reconstruction"]["base"] == -0.25
    assert planted["latent_scaling"]["nu_error"] == dict.fromkeys(MODELS)
    assert planted["decoded"] == {"base": 0.1235, "sft-5": None, "rl-5": 1.0}
    assert planted["matches"] == {"trio-r1": 0.9877}
    assert dead["matches"] == {"trio-r1": None}
    assert set(planted["lens"]["rl-5"]) == {"raised", "raised_by", "lowered", "lowered_by"}
    assert planted["lens"]["rl-5"]["raised_by"][0] > 0 > planted["lens"]["rl-5"]["lowered_by"][0]
    assert sum(planted["histogram"].values()) == found.firings[0].sum()
    assert all(int(octave) >= WEAKEST for octave in planted["histogram"])
    assert dead["contexts"]["strongest"] == []
    assert len(dead["contexts"]["near_miss"]) == 5


def test_the_same_pass_gives_the_difference_lens(study, directories) -> None:
    crosscoder, networks, rows = study
    part, found = reading(study, [1])
    tokenizer = letter_tokenizer()
    _, lens = read_heads(part, found, directories, tokenizer)
    assert len(lens) == 3 * 2 * len(PLACES)
    with torch.no_grad():
        streams = [residual_stream(n, torch.from_numpy(rows)) for n in networks]
    third = (streams[2] - streams[0])[1::2, 3].mean(dim=0)  # of source b
    network = tiny_network("qwen3", seed=2)
    expected = logit_lens(network, third[None]).record(0, tokenizer)["raised"]
    (row,) = (r for r in lens if (r["model"], r["source"], r["place"]) == ("rl-5", "b", "3"))
    assert row["raised"] == expected
    relative = third.norm() / streams[0][1::2, 3].norm(dim=-1).mean()
    assert row["norm"] == pytest.approx(float(relative), rel=1e-3)
    assert row["norm_by_chance"] < row["norm"]


def test_cosines_between_models() -> None:
    crosscoder = Crosscoder(2, 2, 2, metadata={"models": MODELS[:2]})
    with torch.no_grad():
        crosscoder.W_dec[0] = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
        crosscoder.W_dec[1] = torch.tensor([[0.0, 3.0], [5.0, 0.0]])
    assert cosines(crosscoder)[0, 1].tolist() == pytest.approx([0, 1])


def test_texts_of_tokens_add_up() -> None:
    tokenizer = letter_tokenizer()
    ids = tokenizer("a b c").input_ids
    assert "".join(token_texts(tokenizer, ids)) == tokenizer.decode(ids)


def test_a_character_of_several_tokens_comes_with_the_last() -> None:
    bytes_of = Tokenizer(
        models.BPE(vocab={c: i for i, c in enumerate(ByteLevel.alphabet())}, merges=[])
    )
    bytes_of.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    bytes_of.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_of)
    ids = tokenizer("a≡b").input_ids
    assert token_texts(tokenizer, ids) == ["a", "", "", "≡", "b"]
    assert "".join(token_texts(tokenizer, ids[:3])).startswith("a")


def test_attention_sinks_are_left_out(study) -> None:
    _, everywhere = reading(study, [1])
    _, nowhere = reading(study, [1], sinks=1e-9)
    assert everywhere.firings.sum() > 0
    assert nowhere.firings.sum() == nowhere.tokens.sum() == 0


def every_set() -> dict[str, Any]:
    """Return features.json with all sets that cards are chosen from."""
    controls = {"primary": [[11], [12]], "majority": [[13, 12], [11, 14]]}
    every = {"primary": [4], "majority": [4, 9], "controls": controls}
    return {"intersection": [7], "majority": [2, 4, 7, 9], "protocol": {"all": every}}


def test_features_of_the_primary_hypotheses_come_first() -> None:
    assert in_order(every_set()) == [4, 9, 7, 2]


def test_controls_come_with_the_feature_that_they_first_replace() -> None:
    controls = matched_controls(every_set())
    assert list(controls.items()) == [(11, 4), (12, 4), (13, 4), (14, 9)]


def test_scores_are_those_of_the_studys_readout() -> None:
    chosen = {"readout": "branch", "tasks": {"sciq": {}, "piqa": {}}}
    table = pd.DataFrame(
        {
            "task": ["sciq"] * 4,
            "readout": ["branch", "branch", "joint", "joint"],
            "feature": [0, 1, 0, 1],
            **dict.fromkeys(SCORES, [0.5, 0.1, 9.0, 9.0]),
            "lost": [np.nan, 3.0, 9.0, 9.0],
        }
    )
    found = scores_by_task(table, chosen, [1, 0])
    assert found["score", "sciq"].tolist() == [0.1, 0.5]
    assert found.loc[1, ("lost", "sciq")] == 3
    assert np.isnan(found.loc[0, ("lost", "sciq")])
    assert found["score", "piqa"].isna().all()
    assert scores_by_task(table[:0], chosen, [1, 0]).loc[1].isna().all()


def test_a_restricted_crosscoder_encodes_as_the_whole_one() -> None:
    whole = Crosscoder(2, 3, 6, metadata={"models": MODELS[:2], "threshold": 0.05})
    x = torch.randn(50, 2, 3, generator=torch.Generator().manual_seed(0))
    part = whole.restricted([4, 1])
    assert torch.allclose(part.encode(x), whole.encode(x)[:, [4, 1]])
    assert torch.allclose(
        part.encode_branch(x[:, 0], 0), whole.encode_branch(x[:, 0], 0)[:, [4, 1]]
    )
