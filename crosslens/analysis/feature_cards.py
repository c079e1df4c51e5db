"""Feature cards: what a feature of a three-model crosscoder is about, as data.

Belongs here: which features get a card, and what the card holds. Pages are made by
crosslens.reporting.feature_page.
"""

from collections.abc import Sequence
from itertools import combinations, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from crosslens.analysis.context_pool import BEFORE, WEAKEST, Contexts
from crosslens.analysis.controls import PRIMARY
from crosslens.analysis.difference_lens import difference_lens
from crosslens.analysis.feature_table import alive_features
from crosslens.analysis.heldout_reading import Reading
from crosslens.analysis.latent_scaling import TOO_RARE
from crosslens.analysis.logit_lens import Lens, logit_lens
from crosslens.analysis.specificity import best_matches
from crosslens.crosscoder.model import Crosscoder
from crosslens.io.records import rounded
from crosslens.models.loading import load_network

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROLES = ("base", "sft", "rl")  # as in the columns mas_base, mas_base_star, ...
MOST_SPECIFIC = {"sft": "SFT", "rl": "RL", "base": "base"}  # in the order of the page
CONTROL = "matched control"  # a reason for a card
LATENT_SCALING = ("beta_error", "stderr", "nu_error", "nu_reconstruction", "nu_activation")
# Columns of scores.csv: Eq. 11, then contributions, first on critical samples ("won").
SCORES = ("score", "contribution", "lost", "both_right", "both_wrong", "contrast")
INCOMPLETE = "\N{REPLACEMENT CHARACTER}"  # ends a text that ends within a character


def chosen_features(
    mas: pd.DataFrame, selection: dict[str, Any], each: int, seed: int
) -> dict[int, list[str]]:
    """Return the features that get a card, in the order of the page, with the reasons for each.

    `each` is the number for each reason: most specific to SFT, RL and base by MAS*, selected in
    all or most tasks, matched controls of such features, and drawn at random among those alive.
    Without the last two, a reader cannot judge the rest. `mas` has the rows of one trio,
    `selection` is its features.json.
    """
    alive = mas[(mas["alive"] == 1) & (mas["pattern"] != TOO_RARE)]
    reasons: dict[int, list[str]] = {}
    for role, name in MOST_SPECIFIC.items():
        order = alive.sort_values(f"mas_{role}_star", ascending=False, kind="stable")
        for feature in order["feature"].head(each):
            reasons.setdefault(int(feature), []).append(f"most specific to {name}")
    sets = {
        "selected in all or most tasks": in_order(selection),
        CONTROL: matched_controls(selection),
    }
    for reason, features in sets.items():
        for feature in islice(features, each):
            reasons.setdefault(int(feature), []).append(reason)
    random = np.random.default_rng(seed)
    pool = sorted(mas.loc[mas["alive"] == 1, "feature"])
    for feature in random.permutation(pool)[:each]:
        reasons.setdefault(int(feature), []).append("drawn at random")
    return reasons


def in_order(selection: dict[str, Any]) -> list[int]:
    """Return the features of the primary hypotheses' set, then those that the protocol's score
    selects in most tasks, then those that the paper's score selects in all tasks, then in most."""
    protocol = selection["protocol"]["all"]
    sets = (protocol[PRIMARY], protocol["majority"])
    paper = (selection["intersection"], selection["majority"])
    return list(dict.fromkeys(feature for members in (*sets, *paper) for feature in members))


def matched_controls(selection: dict[str, Any]) -> dict[int, int]:
    """Return control features, each with the feature in whose place it was drawn first.

    First those of the primary hypotheses' set, then of the protocol's set of most tasks, both
    selected on all questions; of each, one control set after another.
    """
    every = selection["protocol"]["all"]
    replaced: dict[int, int] = {}
    for kind in (PRIMARY, "majority"):
        for drawn in every["controls"][kind]:
            for control, feature in zip(drawn, every[kind], strict=True):
                replaced.setdefault(control, feature)
    return replaced


def matches_by_seed(part: Crosscoder, chosen: Sequence[int], seeds: Sequence[Path]) -> pd.DataFrame:
    """Return the cosine of each chosen feature's best match in every other seed.

    Rows are features, columns are seeds. `part` has only the chosen features; `seeds` are
    crosscoders, beside each its features.csv.
    """
    best: dict[str, torch.Tensor] = {}
    for path in seeds:
        W_dec = Crosscoder.load(path).W_dec.detach()
        best[path.parent.name] = best_matches(part.W_dec, W_dec, alive_features(path.parent))
    return pd.DataFrame(best, index=list(chosen))


def scores_by_task(
    scores: pd.DataFrame, selection: dict[str, Any], features: Sequence[int]
) -> pd.DataFrame:
    """Return some features' scores: a column for each of SCORES and each task, a row each.

    By the study's readout, which `selection` names (features.json). NaN for a task without critical
    samples, or without questions of a cell.
    """
    own = scores[scores["readout"] == selection["readout"]]
    by_task = own.pivot(index="feature", columns="task", values=list(SCORES))
    columns = pd.MultiIndex.from_product([SCORES, selection["tasks"]])
    return by_task.reindex(index=features, columns=columns)


class Measured(NamedTuple):
    """What other jobs measured of features. Every table has a row for each feature of a card."""

    mas: pd.DataFrame
    table: pd.DataFrame  # features.csv
    scores: pd.DataFrame  # `scores_by_task`
    matches: pd.DataFrame  # `matches_by_seed`

    def of_feature(self, feature: int, models: Sequence[str]) -> dict[str, Any]:
        """Return a feature's numbers, by role, model, task or seed."""
        mas, row, scores = (table.loc[feature] for table in self[:3])
        tasks = scores.index.unique(level=1)
        return {
            "rate": rounded(row["rate"]),
            "pattern": row["pattern"],
            "mas": {role: rounded(mas[f"mas_{role}"]) for role in ROLES},
            "mas_star": {role: rounded(mas[f"mas_{role}_star"]) for role in ROLES},
            "latent_scaling": {
                name: {model: rounded(row[f"{name}_{model}"]) for model in models}
                for name in LATENT_SCALING
            },
            "decoded": {model: rounded(row[f"r2_{model}"]) for model in models},
            "scores": {
                task: {name: rounded(scores[name, task]) for name in SCORES} for task in tasks
            },
            "matches": {seed: rounded(value) for seed, value in self.matches.loc[feature].items()},
        }


class Shown(NamedTuple):
    """What the models themselves show of the features of a restricted crosscoder."""

    crosscoder: Crosscoder
    reading: Reading
    lenses: dict[str, Lens]  # by model
    tokenizer: "PreTrainedTokenizerBase"

    def of_feature(self, position: int) -> dict[str, Any]:
        """Return what is shown of the feature at a place in the restricted crosscoder."""
        models, reading = self.crosscoder.models, self.reading
        similar = cosines(self.crosscoder.restricted([position]))[:, :, 0]
        used = reading.histogram[position].nonzero()[0]
        return {
            "cosine": {
                f"{models[i]} and {models[j]}": rounded(similar[i, j])
                for i, j in combinations(range(len(models)), 2)
            },
            "rate_by_source": {
                name: rounded(reading.firings[position, s] / max(1, reading.tokens[s]))
                for s, name in enumerate(reading.sources)
            },
            "histogram": {
                str(octave + WEAKEST): int(reading.histogram[position, octave]) for octave in used
            },
            "lens": {
                model: lens.record(position, self.tokenizer) for model, lens in self.lenses.items()
            },
            "contexts": {
                kind: context_records(contexts, self.tokenizer, ["joint", *models])
                for kind, contexts in reading.pool.of_feature(position).items()
            },
        }


def cards(
    reasons: dict[int, list[str]],
    selection: dict[str, Any],
    measured: Measured,
    shown: Shown,
    digest: str,
) -> list[dict[str, Any]]:
    """Return a card for each feature of `chosen_features`, in its order, as a plain record.

    `selection` is features.json, which says what feature a control replaces. `digest` identifies
    the crosscoder, so that a link to a feature cannot lead to one of another crosscoder.
    """
    controls = matched_controls(selection)
    return [
        {
            "feature": feature,
            "crosscoder": digest,
            "reasons": why,
            "replaces": controls[feature] if CONTROL in why else None,
            **measured.of_feature(feature, shown.crosscoder.models),
            **shown.of_feature(position),
        }
        for position, (feature, why) in enumerate(reasons.items())
    ]


def read_heads(
    crosscoder: Crosscoder,
    reading: Reading,
    models: Sequence[Path],
    tokenizer: "PreTrainedTokenizerBase",
) -> tuple[dict[str, Lens], list[dict[str, Any]]]:
    """Return the lens of all features in each model, and of each model's mean difference to base.

    `models` are the directories of the crosscoder's models, of which one is in memory at a time.
    """
    from crosslens.models.transformers_light import AutoModelForCausalLM

    directions, means = crosscoder.directions(), reading.differences.means()
    lenses, rows = {}, []
    for i, (name, path) in enumerate(zip(crosscoder.models, models, strict=True)):
        network = load_network(path, AutoModelForCausalLM)
        lenses[name] = logit_lens(network, directions[i])
        lens = difference_lens(network, means, i, reading.sources, tokenizer)
        rows += [{"model": name, **row} for row in lens]
        del network
    return lenses, rows


def cosines(crosscoder: Crosscoder) -> Float[torch.Tensor, "n n k"]:
    """Return the cosine of each feature's decoder vectors between models."""
    unit = torch.nn.functional.normalize(crosscoder.W_dec.detach(), dim=-1)
    return torch.einsum("ikd,jkd->ijk", unit, unit)


def context_records(
    contexts: Contexts, tokenizer: "PreTrainedTokenizerBase", readouts: Sequence[str]
) -> list[dict[str, Any]]:
    """Return contexts as plain records: tokens as text, and the feature's activation on each."""
    return [
        {
            "sequence": int(contexts.sequence[i]),
            "position": int(contexts.position[i]),
            "value": rounded(contexts.value[i]),
            "at": int(inside[:BEFORE].sum()),
            "tokens": token_texts(tokenizer, contexts.ids[i][inside].tolist()),
            "codes": {
                name: [rounded(value) for value in contexts.codes[i, r][inside]]
                for r, name in enumerate(readouts)
            },
        }
        for i, inside in enumerate(contexts.ids >= 0)
    ]


def token_texts(tokenizer: "PreTrainedTokenizerBase", ids: list[int]) -> list[str]:
    """Return what each token adds to the text before it, spaces included.

    A character that takes several tokens is added by the last of them.
    """
    texts, before = [], ""
    for end in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[:end], clean_up_tokenization_spaces=False)
        whole = not text.endswith(INCOMPLETE) or end == len(ids)
        texts.append(text[len(before) :] if whole else "")
        before = text if whole else before
    return texts
