"""Collect contexts that show what a feature responds to, in one pass and in bounded memory.

The three kinds are the strongest contexts, contexts at each level of activation, and near misses.
The result depends neither on the order of the texts nor on how jobs divide them.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer

STRONGEST, NEAR_MISS = 1000, -1000  # kinds; any other is an octave: floor(log2(activation))
WEAKEST = -20  # octave that holds all weaker ones
LEVELS = 4  # octaves of a card: the feature's highest, and those below it
BEFORE, AFTER = 24, 8  # tokens shown on either side of the token
MIXERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # of splitmix64


class Contexts(NamedTuple):
    """Tokens on which features fire or nearly fire, one per entry, with the tokens around them."""

    feature: Integer[np.ndarray, " c"]  # position among the pool's features
    kind: Integer[np.ndarray, " c"]
    priority: Float[np.ndarray, " c"]  # the smallest are kept
    sequence: Integer[np.ndarray, " c"]
    position: Integer[np.ndarray, " c"]
    value: Float[np.ndarray, " c"]  # activation; of a near miss the pre-activation, too low to fire
    ids: Integer[np.ndarray, "c w"]  # tokens of the window; -1 outside the sequence
    codes: Float[np.ndarray, "c r w"]  # the feature's activation there, by each readout

    def take(self, chosen: Integer[np.ndarray, " k"] | Bool[np.ndarray, " c"]) -> "Contexts":
        """Return the chosen entries."""
        return Contexts(*(column[chosen] for column in self))


def token_hashes(
    sequences: Integer[np.ndarray, " n"], positions: Integer[np.ndarray, " t"]
) -> Float[np.ndarray, "n t"]:
    """Return a hash in [0, 1) of each token's position in the texts (splitmix64)."""
    z = (sequences.astype(np.uint64)[:, None] << np.uint64(24)) + positions.astype(np.uint64)
    z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in zip((30, 27), MIXERS, strict=True):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) / 2.0**53


def octaves(values: Float[np.ndarray, "*s"]) -> Integer[np.ndarray, "*s"]:
    """Return floor(log2(value)) of positive values, but not less than `WEAKEST`."""
    return np.maximum(np.floor(np.log2(values)), WEAKEST).astype(np.int64)


def candidates(
    pre: Float[np.ndarray, "n t k"],
    codes: Float[np.ndarray, "n t r k"],
    ids: Integer[np.ndarray, "n t"],
    first: int,
) -> Contexts:
    """Return for each sequence and feature the strongest token, and one token of each octave.

    The token of an octave is drawn by hash among those whose activation is in the octave. Where the
    feature does not fire, the strongest token is a near miss. `pre` are pre-activations, minus
    infinity at excluded positions; the first of `codes` are activations. `first` is the number of
    the first sequence.
    """
    sequences = np.arange(first, first + len(ids))
    f = np.where(np.isfinite(pre), codes[:, :, 0], 0)
    at = pre.argmax(axis=1)  # [n, k]
    best = np.take_along_axis(pre, at[:, None], 1)[:, 0]
    fires = np.take_along_axis(f, at[:, None], 1)[:, 0] > 0
    strongest = entries(at, np.where(fires, STRONGEST, NEAR_MISS), -best, best, sequences)
    drawn = drawn_entries(f, sequences)
    both = {name: np.concatenate([strongest[name], drawn[name]]) for name in strongest}
    return Contexts(**both, **windows(both, codes, ids, first))


def drawn_entries(
    f: Float[np.ndarray, "n t k"], sequences: Integer[np.ndarray, " n"]
) -> dict[str, np.ndarray]:
    """Draw, for each sequence, feature and octave, the token with the smallest hash.

    Returns columns of `Contexts`.
    """
    row, position, feature = f.nonzero()
    priority = token_hashes(sequences, np.arange(f.shape[1]))[row, position]
    kind = octaves(f[row, position, feature])
    order = np.lexsort((priority, kind, feature, row))
    groups = np.stack([row, feature, kind])[:, order]
    first = np.r_[True, (np.diff(groups) != 0).any(axis=0)] if len(order) else []
    chosen = order[np.flatnonzero(first)]
    return {
        "feature": feature[chosen],
        "kind": kind[chosen],
        "priority": priority[chosen],
        "sequence": sequences[row[chosen]],
        "position": position[chosen],
        "value": f[row, position, feature][chosen].astype(np.float32),
    }


def entries(
    position: Integer[np.ndarray, "n k"],
    kind: Integer[np.ndarray, "n k"],
    priority: Float[np.ndarray, "n k"],
    value: Float[np.ndarray, "n k"],
    sequences: Integer[np.ndarray, " n"],
) -> dict[str, np.ndarray]:
    """Return columns of `Contexts` for one token of each sequence and feature."""
    n, k = position.shape
    return {
        "feature": np.tile(np.arange(k), n),
        "kind": kind.ravel(),
        "priority": priority.ravel().astype(np.float64),
        "sequence": np.repeat(sequences, k),
        "position": position.ravel(),
        "value": value.ravel().astype(np.float32),
    }


def windows(
    tokens: dict[str, np.ndarray],
    codes: Float[np.ndarray, "n t r k"],
    ids: Integer[np.ndarray, "n t"],
    first: int,
) -> dict[str, np.ndarray]:
    """Return the ids and codes around each token."""
    row = (tokens["sequence"] - first)[:, None]
    column = tokens["position"][:, None] + np.arange(-BEFORE, AFTER + 1)
    inside = (column >= 0) & (column < ids.shape[1])
    column = column.clip(0, ids.shape[1] - 1)
    values = codes[row, column, :, tokens["feature"][:, None]]  # [c, w, r]
    return {
        "ids": np.where(inside, ids[row, column].astype(np.int64), -1),
        "codes": np.where(inside[:, None], values.transpose(0, 2, 1), 0).astype(np.float32),
    }


class ContextPool:
    """The contexts that are kept for some features, at most a fixed number of each kind."""

    def __init__(self, *, strongest: int = 10, of_octave: int = 4, near_misses: int = 5) -> None:
        self.limits = {STRONGEST: strongest, NEAR_MISS: near_misses}
        self.of_octave = of_octave
        self.kept: Contexts | None = None

    def add(self, contexts: Contexts) -> None:
        """Add the contexts of a batch or of another pool; keep the first ones of each kind."""
        parts = [contexts] if self.kept is None else [self.kept, contexts]
        both = Contexts(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        keys = (both.position, both.sequence, both.priority, both.kind, both.feature)
        both = both.take(np.lexsort(keys))
        group = np.flatnonzero(
            np.r_[True, (np.diff(both.feature) != 0) | (np.diff(both.kind) != 0)]
        )
        sizes = np.diff(np.r_[group, len(both.kind)])
        rank = np.arange(len(both.kind)) - np.repeat(group, sizes)
        limit = np.full(len(both.kind), self.of_octave)
        for kind, most in self.limits.items():
            limit[both.kind == kind] = most
        self.kept = both.take(rank < limit)

    def of_feature(self, feature: int) -> dict[str, Contexts]:
        """Return a feature's contexts: strongest, near_miss, and level_1 to level_4.

        Level 1 is the octave of the strongest activation; level 4 is the fourth octave and all
        below it. Each level keeps the contexts that were drawn first.
        """
        assert self.kept is not None
        own = self.kept.take(self.kept.feature == feature)
        kinds = {
            "strongest": own.take(own.kind == STRONGEST),
            "near_miss": own.take(own.kind == NEAR_MISS),
        }
        drawn = own.take((own.kind != STRONGEST) & (own.kind != NEAR_MISS))
        if not len(kinds["strongest"].value):
            return kinds
        highest = octaves(kinds["strongest"].value[:1])
        level = np.minimum(highest - drawn.kind + 1, LEVELS)
        for number in range(1, LEVELS + 1):
            there = drawn.take(level == number)
            kinds[f"level_{number}"] = there.take(np.argsort(there.priority)[: self.of_octave])
        return kinds
