"""Draw control sets of features: at random, or matched to a set feature by feature."""

import random
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

PRIMARY = "primary"  # the kind of set of the primary hypotheses, which has the most controls
# Largest differences, in powers of ten, of a control feature from the one that it replaces.
CALIPERS = {"rate": 0.15, "contribution": 0.3, "share": 0.3}
FARTHEST = 2.0  # calipers that a control feature may be off at most
LEAST_POOL = 10  # candidates for each feature, up to FARTHEST where fewer are within the calipers


class Traits(NamedTuple):
    """What controls are matched in, for every feature; all above 0 for one that can be drawn.

    rate: fraction of questions on whose final token it fires in RL; contribution: mean f |D| there;
    share: |D| in RL over the sum of its norms in all models. None depends on the scale gauge, as
    the norm by itself does.
    """

    rate: Float[np.ndarray, " k"]
    contribution: Float[np.ndarray, " k"]
    share: Float[np.ndarray, " k"]

    def logarithms(self) -> Float[np.ndarray, "traits k"]:
        """Return the traits as powers of ten, to six digits: rounding errors draw nothing else."""
        with np.errstate(divide="ignore"):
            return np.log10(np.stack(self)).round(6)


class Matched(NamedTuple):
    """Control sets, all different, and how near to the set they are.

    `worst` is the largest distance of a drawn feature from the one it replaces, in calipers; it is
    above 1 where the pool had too few near ones, and at most FARTHEST. `balance` is the mean
    difference in each trait, controls less set, in powers of ten.
    """

    sets: list[list[int]]
    worst: float
    balance: dict[str, float]


def matched_sets(
    features: list[int], traits: Traits, pool: Bool[np.ndarray, " k"], count: int, seed: int
) -> Matched:
    """Draw `count` different sets, each feature replaced by one of the pool with similar traits.

    Only the features themselves are left out of the pool: others that carry a part of their effect
    may be drawn, which makes a comparison conservative. Fewer sets are returned where the pool does
    not have as many. No set holds a feature twice.
    """
    logs = traits.logarithms()
    pool = pool & np.isfinite(logs).all(axis=0)
    pool[features] = False
    usable = bool(features) and np.isfinite(logs[:, features]).all()
    if not usable or pool.sum() < len(features):
        return Matched([], np.nan, {})
    widths = np.array([CALIPERS[trait] for trait in Traits._fields])[:, None]
    enough = count if len(features) == 1 else 2 * int(np.ceil(count ** (1 / len(features))))
    least = max(LEAST_POOL, enough)
    candidates = {k: nearest(logs, k, pool, widths, least).tolist() for k in features}
    rng = np.random.default_rng(seed)
    drawn: dict[frozenset[int], list[int]] = {}
    for _ in range(20 * count):
        if len(drawn) == count:
            break
        chosen = draw(features, candidates, rng)
        if chosen:
            drawn.setdefault(frozenset(chosen), chosen)
    sets = list(drawn.values())
    if not sets:
        return Matched([], np.nan, {})
    apart = np.stack([logs[:, one] - logs[:, features] for one in sets])
    balance = dict(zip(Traits._fields, apart.mean(axis=(0, 2)).tolist(), strict=True))
    return Matched(sets, float((np.abs(apart) / widths).max()), balance)


def nearest(
    logs: Float[np.ndarray, "traits k"],
    feature: int,
    pool: Bool[np.ndarray, " k"],
    widths: Float[np.ndarray, "traits 1"],
    least: int,
) -> Int[np.ndarray, " c"]:
    """Return the pool's features within the calipers, or the `least` nearest if these are fewer;
    none beyond FARTHEST."""
    distance = (np.abs(logs - logs[:, [feature]]) / widths).max(axis=0)
    distance = np.where(pool, distance, np.inf)
    order = np.argsort(distance, kind="stable")
    count = min(max(least, int((distance <= 1).sum())), int((distance <= FARTHEST).sum()))
    return np.sort(order[:count])


def draw(
    features: list[int], candidates: dict[int, list[int]], rng: np.random.Generator
) -> list[int]:
    """Replace each feature, in random order, by a candidate that is not yet in the set; return []
    where the candidates ran out."""
    chosen: dict[int, int] = {}
    for feature in rng.permutation(features).tolist():
        taken = set(chosen.values())
        left = [k for k in candidates[feature] if k not in taken]
        if not left:
            return []
        chosen[feature] = left[rng.integers(len(left))]
    return [chosen[feature] for feature in features]


def random_sets(
    pool: list[int], avoid: set[int], size: int, count: int, seed: int
) -> list[list[int]]:
    """Draw `count` sets of `size` features of a pool, or of all that a smaller pool has.

    In random order, so that the first k of a draw are a random set of k. No two draws begin with
    the same feature while the pool has others: single features do not repeat.
    """
    rest = sorted(set(pool) - avoid)
    rng = random.Random(seed)
    firsts = (rng.sample(rest, len(rest)) * count)[: count if size else 0]
    draws = []
    for first in firsts:
        left = [feature for feature in rest if feature != first]
        draws.append([first, *rng.sample(left, min(size - 1, len(left)))])
    return draws


def of_size(draws: list[list[int]], size: int) -> list[list[int]]:
    """Return the different sets of `size` features that draws begin with.

    None where the pool had fewer. A pool of hardly more than `size` features gives the same set
    again and again: it counts once.
    """
    distinct = {frozenset(draw[:size]): draw[:size] for draw in draws if len(draw) >= size}
    return list(distinct.values())
