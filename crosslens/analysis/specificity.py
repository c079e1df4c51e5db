"""Measure how specific features are to a model, and how the most specific change over training.

Sections 3.1 (Eqs. 4, 8-10), 5.1 and 5.2 of the paper. Norms are unitless, as activations are
scaled.
"""

from collections.abc import Sequence
from itertools import combinations, combinations_with_replacement, pairwise

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment

from crosslens.models.batching import batches

CHUNK = 4096  # features whose decoder vectors are compared at a time
DRAWS = 99  # of the null of an overlap within one crosscoder


def l1_norms(W_dec: Float[torch.Tensor, "n k d"]) -> Float[torch.Tensor, "n k"]:
    """Return the L1 norm of each feature's decoder vector by model, as in Eqs. 4 and 8-10."""
    return W_dec.abs().sum(dim=-1)


def nrn(norms: Float[torch.Tensor, "2 k"]) -> Float[torch.Tensor, " k"]:
    """Return the normalized relative norm (Eq. 4) from the norms of base and tuned model.

    It is the tuned model's fraction of both norms, in [0, 1]; NaN if both norms are zero.
    """
    return norms[1] / norms.sum(dim=0)


def mas(norms: Float[torch.Tensor, "n k"]) -> Float[torch.Tensor, "n k"]:
    """Return model attribution scores (Eqs. 8-10): fractions in [0, 1] that add up to 1.

    Rows are base, SFT and RL (MAS_O, MAS_S, MAS_R) for the trio. NaN where all norms are zero.
    """
    return norms / norms.sum(dim=0)


def top_features(table: pd.DataFrame, count: int) -> list[int]:
    """Return the `count` alive features of highest NRN, highest first; ties by index.

    `table` is one crosscoder's: columns feature, nrn, alive (0 or 1).
    """
    alive = table[table["alive"] == 1].sort_values(["nrn", "feature"], ascending=[False, True])
    return alive["feature"].head(count).tolist()


def tops_in_one(
    models: Sequence[str],
    norms: Float[torch.Tensor, "n k"],
    alive: Bool[np.ndarray, " k"],
    count: int,
) -> dict[int, list[int]]:
    """Return each checkpoint's top features in one crosscoder of base and all checkpoints.

    A feature's index is the same for all checkpoints. Its score is the checkpoint's NRN against
    base.
    """
    features = pd.DataFrame({"feature": np.arange(len(alive)), "alive": alive.astype(int)})
    tops = {}
    for model, row in zip(models[1:], norms[1:], strict=True):
        scores = nrn(torch.stack([norms[0], row])).numpy()
        tops[int(model.rpartition("-")[2])] = top_features(features.assign(nrn=scores), count)
    return tops


def null_in_one(
    models: Sequence[str],
    norms: Float[torch.Tensor, "n k"],
    alive: Bool[np.ndarray, " k"],
    count: int,
) -> Float[np.ndarray, " draws_pairs"]:
    """Return overlaps of two checkpoints' lists after permuting each feature's norms among models.

    The permutation removes the identity of base and checkpoints. It keeps the spread of a feature's
    norms, and the base that two lists share. There is one overlap for each pair of checkpoints in
    each of DRAWS permutations.
    """
    generator = torch.Generator().manual_seed(0)
    overlaps = []
    for _ in range(DRAWS):
        order = torch.rand(norms.shape, generator=generator).argsort(dim=0)
        tops = tops_in_one(models, norms.gather(0, order), alive, count)
        overlaps += [index_overlap(a, b) for a, b in combinations(tops.values(), 2)]
    return np.array(overlaps, dtype=float)


def overlap_in_one(
    models: Sequence[str],
    norms: Float[torch.Tensor, "n k"],
    alive: Bool[np.ndarray, " k"],
    count: int,
) -> pd.DataFrame:
    """Return the overlaps within one crosscoder in the columns of `overlap_table`, and their null.

    The kind is "together". For the last checkpoint with itself there are also the null's mean,
    "together_null", and its 5% and 95% quantiles, "together_null_low" and "together_null_high".
    """
    paradigm, tops = paradigm_of(models), tops_in_one(models, norms, alive, count)
    null = null_in_one(models, norms, alive, count)
    pairs = combinations_with_replacement(sorted(tops), 2)
    rows = [(paradigm, a, b, "together", index_overlap(tops[a], tops[b])) for a, b in pairs]
    last = (paradigm, max(tops), max(tops))
    rows.append((*last, "together_null", null.mean()))
    for bound, level in (("low", 0.05), ("high", 0.95)):
        rows.append((*last, f"together_null_{bound}", np.quantile(null, level)))
    return pd.DataFrame(rows, columns=["paradigm", "a", "b", "kind", "overlap"])


def paradigm_of(models: Sequence[str]) -> str:
    """Return the paradigm of base and its checkpoints."""
    return models[1].partition("-")[0]


def index_overlap(a: list[int], b: list[int]) -> int:
    """Return how many indices two lists have in common, as in the paper's Figures 2 and 7."""
    return len(set(a) & set(b))


def matched_overlap(
    a: Float[torch.Tensor, "p d"], b: Float[torch.Tensor, "q d"], threshold: float
) -> int:
    """Return how many features two lists have in common by direction.

    These are the pairs with a cosine of at least `threshold` in the best one-to-one matching of
    decoder vectors. Zero if a list is empty.
    """
    if not len(a) or not len(b):
        return 0
    cosine = direction_cosines(a, b)
    rows, columns = linear_sum_assignment(-cosine.numpy())
    return int((cosine[rows, columns] >= threshold).sum())


def best_matches(
    a: Float[torch.Tensor, "n p d"], b: Float[torch.Tensor, "n q d"], alive: Bool[np.ndarray, " q"]
) -> Float[torch.Tensor, " p"]:
    """Return the cosine of each feature of `a` with the most similar alive one of `b`.

    `a` and `b` are the decoder vectors of two seeds of one crosscoder. A feature's direction is the
    concatenation of its vectors in all models. NaN if no feature of `b` is alive.
    """
    highest = torch.full((a.shape[1],), torch.nan)
    own = a.transpose(0, 1).flatten(1)
    for some in batches(np.flatnonzero(alive), CHUNK):
        other = b[:, torch.from_numpy(some)].transpose(0, 1).flatten(1)
        highest = torch.fmax(highest, direction_cosines(own, other).amax(dim=1))
    return highest


def direction_cosines(
    a: Float[torch.Tensor, "p d"], b: Float[torch.Tensor, "q d"]
) -> Float[torch.Tensor, "p q"]:
    """Return the cosine of each vector of `a` with each of `b`."""
    return torch.nn.functional.normalize(a, dim=1) @ torch.nn.functional.normalize(b, dim=1).T


def overlap_table(
    tops: dict[int, list[int]],
    decoders: dict[int, Float[torch.Tensor, "k d"]],
    paradigm: str,
    match_cosine: float,
) -> pd.DataFrame:
    """Return the overlap between each two checkpoints of a paradigm, by index and by direction.

    `tops[c]` are the top features of checkpoint c, `decoders[c]` the tuned model's W_dec.
    Columns: paradigm, a, b (checkpoints), kind ("index", "matched"), overlap (features in common).
    """
    rows = []
    for a, b in combinations_with_replacement(sorted(tops), 2):
        first, second = (decoders[c][tops[c]] for c in (a, b))
        rows.append((paradigm, a, b, "index", index_overlap(tops[a], tops[b])))
        rows.append((paradigm, a, b, "matched", matched_overlap(first, second, match_cosine)))
    return pd.DataFrame(rows, columns=["paradigm", "a", "b", "kind", "overlap"])


def rank_shifts(tops: dict[int, list[int]], paradigm: str) -> pd.DataFrame:
    """Return the rank changes of top features between adjacent checkpoints (Figures 8-13).

    A feature that is not in both lists has no shift (NaN), the paper's blank cell. Ranks start at
    1; a positive shift is a rise.
    """
    rows = []
    for a, b in pairwise(sorted(tops)):
        before, after = ({f: i for i, f in enumerate(tops[c], 1)} for c in (a, b))
        for feature in dict.fromkeys([*tops[a], *tops[b]]):
            first, second = before.get(feature, np.nan), after.get(feature, np.nan)
            rows.append((paradigm, a, b, feature, first, second, first - second))
    columns = ["paradigm", "from", "to", "feature", "rank_from", "rank_to", "shift"]
    return pd.DataFrame(rows, columns=columns)
