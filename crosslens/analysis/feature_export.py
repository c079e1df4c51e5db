"""Write feature cards in the formats of other tools: Neuronpedia's pages and delphi's cache.

Neuronpedia has no crosscoders. Each model becomes a source with the same indices, contexts and
activations; decoder vectors and logit lens are the model's own. delphi explains features with a
language model and scores the explanations; it reads every activation on every held-out text.

Formats: neuronpedia, utils/neuronpedia-utils (db_models) and its importer; delphi 0.1.3,
`LatentCache.save_splits` and `LatentDataset`.
"""

import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer
from safetensors.numpy import save_file

from crosslens.analysis.context_pool import LEVELS
from crosslens.analysis.contexts import read_rows, trained_positions
from crosslens.crosscoder.model import Crosscoder
from crosslens.io.records import write_json, write_jsonl

TOP: dict[str, float] = {
    "binMin": -1,
    "binMax": -1,
    "binContains": -1,
}  # of the strongest contexts, in Neuronpedia
BATCH = 128  # features in a file


class Firings(NamedTuple):
    """All activations of some features on some texts, in the order of the texts.

    locations: sequence, position and the feature's index in the complete crosscoder.
    """

    tokens: Integer[np.ndarray, "n t"]
    locations: Integer[np.ndarray, "f 3"]
    activations: Float[np.ndarray, " f"]


@torch.inference_mode()
def collect_firings(
    crosscoder: Crosscoder,
    features: Sequence[int],
    networks: Sequence[torch.nn.Module],
    texts: Iterator[tuple[int, Integer[np.ndarray, "b t"], Integer[np.ndarray, " b"]]],
    *,
    skip_positions: int,
    sink_threshold: float,
) -> Firings:
    """Read texts as `heldout_reading.read_texts` does, and return where features fire (joint code).

    `crosscoder` is restricted to `features`; `networks` are its models, truncated at its layer.
    """
    index, tokens, locations, activations = np.asarray(features), [], [], []
    for first, ids, _ in texts:
        x = read_rows(crosscoder, networks, ids)
        where = trained_positions(x, skip_positions=skip_positions, sink_threshold=sink_threshold)
        f = crosscoder.encode(x.flatten(0, 1)).view(*ids.shape, -1) * where[..., None]
        row, position, k = f.numpy().nonzero()
        tokens.append(ids)
        locations.append(np.stack([row + first, position, index[k]], axis=1))
        activations.append(f.numpy()[row, position, k])
    return Firings(np.concatenate(tokens), np.concatenate(locations), np.concatenate(activations))


def write_delphi(
    folder: Path, name: str, firings: Firings, *, width: int, tokenizer: str, corpus: str
) -> None:
    """Write delphi's cache of one hook: latents/NAME/0_LAST.safetensors and config.json.

    `width` is the number of features of the complete crosscoder, `tokenizer` a model's name or
    directory.
    """
    hook = folder / "latents" / name
    hook.mkdir(parents=True)
    small = firings.locations.max(initial=0) < 2**16
    arrays = {
        "locations": firings.locations.astype(np.uint16 if small else np.uint32),
        "activations": firings.activations.astype(np.float32),
        "tokens": firings.tokens.astype(np.int64),
    }
    save_file(arrays, hook / f"0_{width - 1}.safetensors")
    config = {
        "dataset_repo": corpus,
        "dataset_split": "",
        "dataset_name": "",
        "dataset_column": "",
        "batch_size": 1,
        "cache_ctx_len": firings.tokens.shape[1],
        "n_tokens": firings.tokens.size,
        "n_splits": 1,
        "model_name": tokenizer,
    }
    write_json(hook / "config.json", config)


class Source(NamedTuple):
    """One model of a crosscoder, as Neuronpedia names it.

    `layer` is the index, from 0, of the layer whose output is read; `creator` is the id of a user
    of the Neuronpedia instance.
    """

    model: str
    release: str
    set_name: str
    layer: int
    n_layers: int
    creator: str
    text: str  # what this is, for readers

    @property
    def id(self) -> str:
        """Return the source's id, which begins with its layer."""
        return f"{self.layer}-{self.set_name}"

    def key(self, feature: int) -> dict[str, str]:
        """Return what identifies a feature."""
        named = {"modelId": self.model, "layer": self.id, "index": str(feature)}
        return named | {"creatorId": self.creator}


def write_neuronpedia(
    folder: Path, source: Source, cards: Sequence[dict[str, Any]], crosscoder: Crosscoder, name: str
) -> None:
    """Write the files that Neuronpedia imports for one model: folder/MODEL/SOURCE/.

    `name` is the model's name in the crosscoder and in the cards.
    """
    below = folder / source.model / source.id
    for kind, row in metadata_rows(source, crosscoder.W_dec.shape[-1]).items():
        write_jsonl(below / f"{kind}.jsonl", [row])
    vectors = crosscoder.directions()[crosscoder.models.index(name)]
    for number, start in enumerate(range(0, len(cards), BATCH)):
        part = cards[start : start + BATCH]
        features = [feature_row(source, card, vectors[card["feature"]], name) for card in part]
        write_gzip(below / "features" / f"batch-{number}.jsonl.gz", features)
        activations = [row for card in part for row in activation_rows(source, card)]
        write_gzip(below / "activations" / f"batch-{number}.jsonl.gz", activations)


def metadata_rows(source: Source, width: int) -> dict[str, dict[str, Any]]:
    """Return the rows that describe release, model, set of sources and source.

    The importer keeps rows that exist already.
    """
    creator, public = {"creatorId": source.creator}, {"visibility": "PUBLIC"}
    named = {"creatorName": source.creator, **creator, **public}
    return {
        "release": {"name": source.release, "description": source.text, "urls": [], **named},
        "model": {
            **{"id": source.model, "displayNameShort": source.model, "displayName": source.model},
            **{"owner": source.creator, "layers": source.n_layers, "neuronsPerLayer": 0},
            **{"dimension": width, **creator, **public},
        },
        "sourceset": {
            **{"modelId": source.model, "name": source.set_name, "description": source.text},
            **{"releaseName": source.release, "urls": [], **named},
        },
        "source": {
            **{"id": source.id, "modelId": source.model, "setName": source.set_name},
            **{"hasDashboards": True, **creator, **public},
        },
    }


def feature_row(
    source: Source, card: dict[str, Any], vector: Float[torch.Tensor, " d"], name: str
) -> dict[str, Any]:
    """Return a feature as a row of Neuronpedia's table of features.

    `vector` is its direction in the model's residual stream.
    """
    lens, strongest = card["lens"][name], card["contexts"]["strongest"]
    most = strongest[0]["value"] if strongest else 0.0
    octaves = {int(octave): count for octave, count in card["histogram"].items()}
    return {
        **source.key(card["feature"]),
        "sourceSetName": source.set_name,
        "maxActApprox": most,
        "hasVector": True,
        "vector": vector.tolist(),
        "vectorDefaultSteerStrength": most,
        "hookName": f"blocks.{source.layer}.hook_resid_post",
        "pos_str": lens["raised"],
        "pos_values": lens["raised_by"],
        "neg_str": lens["lowered"],
        "neg_values": lens["lowered_by"],
        "frac_nonzero": card["rate"] or 0.0,
        "freq_hist_data_bar_heights": list(octaves.values()),
        "freq_hist_data_bar_values": [2.0**octave for octave in octaves],
    }


def activation_rows(source: Source, card: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a card's contexts as rows of Neuronpedia's table of activations, the joint code.

    Near misses are left out: there is nothing to show for a feature that does not fire.
    """
    for kind, bounds in bins(card["histogram"]).items():
        for context in card["contexts"].get(kind, []):
            values = context["codes"]["joint"]
            row = source.key(card["feature"]) | {
                "tokens": context["tokens"],
                "values": values,
                "maxValue": max(values),
                "maxValueTokenIndex": int(np.argmax(values)),
                "minValue": min(values),
                "qualifyingTokenIndex": context["at"],
                **bounds,
            }
            place = [kind, context["sequence"], context["position"]]
            yield {"id": identifier([*source.key(card["feature"]).values(), *place]), **row}


def bins(histogram: dict[str, int]) -> dict[str, dict[str, float]]:
    """Return each kind of context with its range of activations and the fraction of firings there.

    `histogram` counts firings by octave. Level 1 is the highest octave, level 4 the fourth and all
    below it (`ContextPool.of_feature`).
    """
    intervals: dict[str, dict[str, float]] = {"strongest": TOP}
    if not histogram:
        return intervals
    counts = {int(octave): count for octave, count in histogram.items()}
    highest, total = max(counts), sum(counts.values())
    for level in range(1, LEVELS + 1):
        octave = highest - level + 1
        last = level == LEVELS
        inside = sum(n for o, n in counts.items() if o == octave or (last and o < octave))
        low = 0.0 if last else 2.0**octave
        intervals[f"level_{level}"] = {
            "binMin": low,
            "binMax": 2.0 ** (octave + 1),
            "binContains": inside / total,
        }
    return intervals


def identifier(parts: Sequence[Any]) -> str:
    """Return an id that is the same for the same parts, in the form of a CUID."""
    return "c" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def write_gzip(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write one JSON object per line, compressed; equal rows give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
