"""Exported features read back: the cards' contexts, every firing, and the formats' own rules."""

import gzip
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from test_feature_cards import MODELS, directories, reading, study  # noqa: F401 (fixtures)
from tiny_models import letter_tokenizer

from crosslens.activations.extract import residual_stream
from crosslens.analysis.feature_cards import context_records, read_heads
from crosslens.analysis.feature_export import (
    Source,
    bins,
    collect_firings,
    write_delphi,
    write_neuronpedia,
)
from crosslens.analysis.heldout_reading import batches_of
from crosslens.io.records import read_json, read_jsonl, rounded

FEATURES = [1, 0, 3]  # the planted one, a random one, one that never fires
SOURCE = Source("tiny-rl-5", "crosslens-tiny", "crosslens-trio-r0", 1, 4, "me", "Tiny")


@pytest.fixture(scope="module")
def cards(study, directories) -> list[dict]:  # noqa: F811
    part, found = reading(study, FEATURES)
    tokenizer = letter_tokenizer()
    lenses, _ = read_heads(part, found, directories, tokenizer)
    return [
        {
            "feature": feature,
            "rate": rounded(found.firings[i].sum() / found.tokens.sum()),
            "histogram": {str(o - 20): int(n) for o, n in enumerate(found.histogram[i]) if n},
            "lens": {model: lens.record(i, tokenizer) for model, lens in lenses.items()},
            "contexts": {
                kind: context_records(contexts, tokenizer, ["joint", *MODELS])
                for kind, contexts in found.pool.of_feature(i).items()
            },
        }
        for i, feature in enumerate(FEATURES)
    ]


def read_gzip(path) -> list[dict]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_delphis_cache_has_every_firing(study, cards, tmp_path) -> None:  # noqa: F811
    crosscoder, networks, rows = study
    texts = batches_of(rows, np.zeros(len(rows), int), 16)
    options = {"skip_positions": 1, "sink_threshold": 1e9}
    firings = collect_firings(crosscoder.restricted(FEATURES), FEATURES, networks, texts, **options)
    write_delphi(tmp_path, "trio-r0", firings, width=4, tokenizer="base", corpus="corpus.h5")
    hook = tmp_path / "latents" / "trio-r0"
    read = load_file(hook / "0_3.safetensors")
    dense = np.zeros((*rows.shape, 4), np.float32)
    dense[tuple(read["locations"].astype(int).T)] = read["activations"]
    with torch.no_grad():
        x = torch.stack([residual_stream(n, torch.from_numpy(rows)) for n in networks], dim=2)
        f = crosscoder.encode(x.flatten(0, 1)).view(*rows.shape, -1).numpy().copy()
    f[:, 0], f[:, :, 2] = 0, 0  # first positions, and a feature without a card
    np.testing.assert_allclose(dense, f, atol=1e-5)
    np.testing.assert_array_equal(read["tokens"], rows)
    assert read["locations"].dtype == np.uint16 and read["tokens"].dtype == np.int64
    assert read_json(hook / "config.json")["cache_ctx_len"] == rows.shape[1]
    for card in cards:
        for kind in ("strongest", "level_1", "level_2", "level_3", "level_4"):
            for context in card["contexts"].get(kind, []):
                found = dense[context["sequence"], context["position"], card["feature"]]
                assert found == pytest.approx(context["value"], rel=1e-3)


def test_a_cache_without_firings(tmp_path, study) -> None:  # noqa: F811
    crosscoder, networks, rows = study
    texts = batches_of(rows, np.zeros(len(rows), int), 16)
    options = {"skip_positions": 1, "sink_threshold": 1e9}
    firings = collect_firings(crosscoder.restricted([3]), [3], networks, texts, **options)
    write_delphi(tmp_path, "trio-r0", firings, width=4, tokenizer="base", corpus="corpus.h5")
    read = load_file(tmp_path / "latents" / "trio-r0" / "0_3.safetensors")
    assert read["locations"].shape == (0, 3) and len(read["activations"]) == 0


def test_neuronpedias_files_have_the_cards(study, cards, tmp_path) -> None:  # noqa: F811
    crosscoder = study[0]
    write_neuronpedia(tmp_path, SOURCE, cards, crosscoder, "rl-5")
    folder = tmp_path / "tiny-rl-5" / "1-crosslens-trio-r0"
    features = read_gzip(folder / "features" / "batch-0.jsonl.gz")
    assert [row["index"] for row in features] == ["1", "0", "3"]
    assert len({tuple(row) for row in features}) == 1, "the importer reads columns of the first row"
    expected = crosscoder.directions()[2, 1].tolist()
    assert features[0]["vector"] == pytest.approx(expected)
    assert features[0]["pos_str"] == cards[0]["lens"]["rl-5"]["raised"]
    assert features[0]["maxActApprox"] == cards[0]["contexts"]["strongest"][0]["value"]
    assert features[2]["maxActApprox"] == 0 and features[2]["frac_nonzero"] == 0

    activations = read_gzip(folder / "activations" / "batch-0.jsonl.gz")
    assert len({row["id"] for row in activations}) == len(activations)
    assert len({tuple(row) for row in activations}) == 1
    shown = {
        card["feature"]: [c for k, cs in card["contexts"].items() if k != "near_miss" for c in cs]
        for card in cards
    }
    for feature, contexts in shown.items():
        own = [row for row in activations if row["index"] == str(feature)]
        assert [row["tokens"] for row in own] == [c["tokens"] for c in contexts]
        assert [row["values"] for row in own] == [c["codes"]["joint"] for c in contexts]
    for row in activations:
        chosen = row["values"][row["qualifyingTokenIndex"]]
        assert row["values"][row["maxValueTokenIndex"]] == row["maxValue"] >= chosen > 0
        assert row["binMin"] == -1 or row["binMin"] <= chosen <= row["binMax"]
        assert {row["modelId"], row["layer"]} == {"tiny-rl-5", "1-crosslens-trio-r0"}

    (model,) = read_jsonl(folder / "model.jsonl")
    (source,) = read_jsonl(folder / "source.jsonl")
    (group,) = read_jsonl(folder / "sourceset.jsonl")
    (release,) = read_jsonl(folder / "release.jsonl")
    assert model["id"] == group["modelId"] == source["modelId"]
    assert (source["setName"], group["releaseName"]) == (group["name"], release["name"])
    assert {row["creatorId"] for row in (model, source, group, release, *features)} == {"me"}


def test_the_same_export_has_the_same_bytes(study, cards, tmp_path) -> None:  # noqa: F811
    for run in ("a", "b"):
        write_neuronpedia(tmp_path / run, SOURCE, cards, study[0], "rl-5")
    files = [sorted(p for p in (tmp_path / r).rglob("*") if p.is_file()) for r in ("a", "b")]
    assert len(files[0]) == 6
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_bins_are_the_octaves_of_a_card() -> None:
    """Eight firings between 2 and 4, one between 0.5 and 1, three below 0.5."""
    found = bins({"1": 8, "-1": 1, "-3": 2, "-5": 1})
    assert found["level_1"] == {"binMin": 2, "binMax": 4, "binContains": 8 / 12}
    assert found["level_2"]["binContains"] == 0
    assert found["level_3"] == {"binMin": 0.5, "binMax": 1, "binContains": 1 / 12}
    assert found["level_4"] == {"binMin": 0, "binMax": 0.5, "binContains": 3 / 12}
    assert list(bins({})) == ["strongest"]
