"""Feature cards: what a feature of a three-model crosscoder is about, as data.

Belongs here: which features get a card, and what the card holds. Pages are made by
crosslens.reporting.feature_page.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Integer

from crosslens.analysis.arms import PRIMARY
from crosslens.analysis.context_pool import (
    BEFORE,
    WEAKEST,
    ContextPool,
    Contexts,
    candidates,
    octaves,
)
from crosslens.analysis.contexts import read_rows, trained_positions
from crosslens.analysis.latent_scaling import TOO_RARE
from crosslens.analysis.logit_lens import Lens
from crosslens.analysis.specificity import best_matches
from crosslens.crosscoder.model import Crosscoder
from crosslens.data.corpus import HELDOUT, heldout_sources, read_shard
from crosslens.models.batching import batches

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROLES = ("base", "sft", "rl")  # as in the columns mas_base, mas_base_star, ...
MOST_SPECIFIC = {"sft": "SFT", "rl": "RL", "base": "base"}  # in the order of the page
CONTROL = "matched control"  # a reason for a card
STRONGEST_OCTAVE = 20  # holds all stronger ones
INCOMPLETE = "\N{REPLACEMENT CHARACTER}"  # ends a text that ends within a character
DIGITS = 4  # significant, of a card's numbers


def chosen_features(
    mas: pd.DataFrame,
    selected: Sequence[int],
    controls: Iterable[int],
    each: int,
    seed: int,
) -> dict[int, list[str]]:
    """Return the features that get a card, in the order of the page, with the reasons for each.

    `each` is the number for each reason: most specific to SFT, RL and base by MAS*, selected in
    all or most tasks, matched controls of such features, and drawn at random among those alive.
    Without the last two, a reader cannot judge the rest. `mas` has the rows of one trio;
    `selected` and `controls` are in the order of preference.
    """
    alive = mas[(mas["alive"] == 1) & (mas["pattern"] != TOO_RARE)]
    reasons: dict[int, list[str]] = {}
    for role, name in MOST_SPECIFIC.items():
        order = alive.sort_values(f"mas_{role}_star", ascending=False, kind="stable")
        for feature in order["feature"].head(each):
            reasons.setdefault(int(feature), []).append(f"most specific to {name}")
    for reason, features in (("selected in all or most tasks", selected), (CONTROL, controls)):
        for feature in islice(features, each):
            reasons.setdefault(int(feature), []).append(reason)
    random = np.random.default_rng(seed)
    pool = sorted(mas.loc[mas["alive"] == 1, "feature"])
    for feature in random.permutation(pool)[:each]:
        reasons.setdefault(int(feature), []).append("drawn at random")
    return reasons


def in_order(selection: dict[str, Any]) -> list[int]:
    """Return the features that the protocol's score selects in all tasks (the primary hypotheses'
    own), then in most, then those that the paper's score selects in all tasks, then in most."""
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


def matches_by_seed(
    part: Crosscoder, chosen: Sequence[int], seeds: Sequence[Path], tables: Sequence[Path]
) -> pd.DataFrame:
    """Return the cosine of each chosen feature's best match in every other seed.

    Rows are features, columns are seeds. `part` has only the chosen features; `seeds` are
    crosscoders, `tables` their features.csv.
    """
    best: dict[str, torch.Tensor] = {}
    for path, table in zip(seeds, tables, strict=True):
        alive = pd.read_csv(table)["alive"].to_numpy() == 1
        W_dec = Crosscoder.load(path).W_dec.detach()
        best[path.parent.name] = best_matches(part.W_dec, W_dec, alive)
    return pd.DataFrame(best, index=list(chosen))


def scores_by_task(
    scores: pd.DataFrame, readout: str, tasks: Sequence[str], features: Sequence[int]
) -> pd.DataFrame:
    """Return the scores of some features by task; NaN for a task without critical samples."""
    own = scores[scores["readout"] == readout]
    by_task = own.pivot(index="feature", columns="task", values="score")
    return by_task.reindex(index=features, columns=tasks)


class Reading(NamedTuple):
    """What one pass over the held-out texts finds of some features."""

    pool: ContextPool
    histogram: Integer[np.ndarray, "k o"]  # firings by octave, from WEAKEST to STRONGEST_OCTAVE
    firings: Integer[np.ndarray, "k s"]  # by source
    tokens: Integer[np.ndarray, " s"]  # read, by source


@torch.inference_mode()
def read_texts(
    crosscoder: Crosscoder,
    networks: Sequence[torch.nn.Module],
    rows: Iterator[tuple[int, Integer[np.ndarray, "n t"], Integer[np.ndarray, " n"]]],
    sources: int,
    skip_positions: int,
    sink_threshold: float,
) -> Reading:
    """Read texts in order, and gather contexts and counts of all features of a crosscoder.

    `crosscoder` is restricted to the features of the cards. `rows` yields the number of a batch's
    first sequence, its token ids, and the source of each sequence. Positions that crosscoders are
    not trained on are left out (`trained_positions`).
    """
    k = len(crosscoder.b_enc)
    reading = Reading(
        ContextPool(),
        np.zeros((k, STRONGEST_OCTAVE - WEAKEST + 1), np.int64),
        np.zeros((k, sources), np.int64),
        np.zeros(sources, np.int64),
    )
    for first, ids, source in rows:
        x = read_rows(crosscoder, networks, ids)
        where = trained_positions(x, skip_positions=skip_positions, sink_threshold=sink_threshold)
        pre, codes = encode(crosscoder, x)
        pre[~where.numpy()] = -np.inf
        codes[~where.numpy()] = 0
        reading.pool.add(candidates(pre, codes, ids, first))
        f = codes[:, :, 0]
        for s in range(sources):
            reading.firings[:, s] += (f[source == s] > 0).sum(axis=(0, 1))
            reading.tokens[s] += int(where.numpy()[source == s].sum())
        feature = np.broadcast_to(np.arange(k), f.shape)[f > 0]
        octave = np.minimum(octaves(f[f > 0]), STRONGEST_OCTAVE) - WEAKEST
        np.add.at(reading.histogram, (feature, octave), 1)
    return reading


def encode(
    crosscoder: Crosscoder, x: Float[torch.Tensor, "n t m d_model"]
) -> tuple[Float[np.ndarray, "n t k"], Float[np.ndarray, "n t r k"]]:
    """Return pre-activations, and activations by each readout: joint, then each model's branch."""
    n, t, models, _ = x.shape
    pre = crosscoder.pre_activations(x.flatten(0, 1)).view(n, t, -1)
    joint = crosscoder.above_threshold(torch.relu(pre))
    branches = [crosscoder.encode_branch(x[:, :, i], i) for i in range(models)]
    return pre.numpy(), torch.stack([joint, *branches], dim=2).numpy()


def batches_of(
    rows: Integer[np.ndarray, "n t"], source: Integer[np.ndarray, " n"], size: int
) -> Iterator[tuple[int, Integer[np.ndarray, "b t"], Integer[np.ndarray, " b"]]]:
    """Yield what `read_texts` takes of rows and their sources."""
    for at in batches(np.arange(len(rows)), size):
        yield int(at[0]), rows[at], source[at]


def heldout_batches(
    corpus: Path, size: int
) -> list[tuple[int, Integer[np.ndarray, "b t"], Integer[np.ndarray, " b"]]]:
    """Read the held-out texts of a corpus in batches, as `read_texts` takes them."""
    rows, source = read_shard(corpus, HELDOUT)[0], heldout_sources(corpus)[0]
    return list(batches_of(rows, source, size))


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


def lens_records(
    lenses: dict[str, Lens], position: int, tokenizer: "PreTrainedTokenizerBase"
) -> dict[str, dict[str, list[Any]]]:
    """Return, for each model, the tokens that a feature's direction raises and lowers, and by how
    much."""
    return {
        model: {
            "raised": [tokenizer.decode([t]) for t in lens.raised[position].tolist()],
            "raised_by": [rounded(value) for value in lens.up[position]],
            "lowered": [tokenizer.decode([t]) for t in lens.lowered[position].tolist()],
            "lowered_by": [rounded(value) for value in lens.down[position]],
        }
        for model, lens in lenses.items()
    }


def cards(
    reasons: dict[int, list[str]],
    *,
    mas: pd.DataFrame,
    table: pd.DataFrame,
    scores: pd.DataFrame,
    matches: pd.DataFrame,
    **shared: Any,
) -> list[dict[str, Any]]:
    """Return a card for each feature of `chosen_features`, in its order.

    `mas`, `table`, `scores` and `matches` have a row for each feature; `shared` is what all cards
    share: see `card`.
    """
    return [
        card(
            position,
            feature,
            reasons=why,
            mas=mas.loc[feature],
            row=table.loc[feature],
            scores=scores.loc[feature],
            matches=matches.loc[feature],
            **shared,
        )
        for position, (feature, why) in enumerate(reasons.items())
    ]


def card(
    position: int,
    feature: int,
    *,
    reasons: list[str],
    controls: Mapping[int, int],
    crosscoder: Crosscoder,
    reading: Reading,
    sources: Sequence[str],
    lenses: dict[str, Lens],
    mas: pd.Series,
    row: pd.Series,
    scores: pd.Series,
    matches: pd.Series,
    tokenizer: "PreTrainedTokenizerBase",
) -> dict[str, Any]:
    """Return one feature's card as a plain record.

    `position` is its place in the restricted crosscoder; `controls` says which feature a control
    replaces; `mas`, `row`, `scores` and `matches` are its MAS and MAS*, its row of features.csv,
    its score by task, and the cosine of its best match by other seed.
    """
    readouts = ["joint", *crosscoder.models]
    similar = cosines(crosscoder.restricted([position]))[:, :, 0]
    used = reading.histogram[position].nonzero()[0]
    return {
        "feature": feature,
        "reasons": reasons,
        "replaces": controls[feature] if CONTROL in reasons else None,
        "rate": rounded(row["rate"]),
        "pattern": row["pattern"],
        "mas": {role: rounded(mas[f"mas_{role}"]) for role in ROLES},
        "mas_star": {role: rounded(mas[f"mas_{role}_star"]) for role in ROLES},
        "nu_error": {model: rounded(row[f"nu_error_{model}"]) for model in crosscoder.models},
        "decoded": {model: rounded(row[f"r2_{model}"]) for model in crosscoder.models},
        "matches": {seed: rounded(value) for seed, value in matches.items()},
        "cosine": {
            f"{crosscoder.models[i]} and {crosscoder.models[j]}": rounded(similar[i, j])
            for i, j in combinations(range(len(crosscoder.models)), 2)
        },
        "scores": {task: rounded(value) for task, value in scores.items()},
        "rate_by_source": {
            name: rounded(reading.firings[position, s] / max(1, reading.tokens[s]))
            for s, name in enumerate(sources)
        },
        "histogram": {
            str(octave + WEAKEST): int(reading.histogram[position, octave]) for octave in used
        },
        "lens": lens_records(lenses, position, tokenizer),
        "contexts": {
            kind: context_records(contexts, tokenizer, readouts)
            for kind, contexts in reading.pool.of_feature(position).items()
        },
    }


def rounded(value: Any) -> float | None:
    """Return a number with few digits; None for NaN."""
    number = float(value)
    return None if np.isnan(number) else float(f"{number:.{DIGITS}g}")
