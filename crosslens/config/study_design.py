"""Define which models a family has (for crosscoders see `crosscoder_design`).

A family with user-supplied checkpoints of a paradigm (`sft` or `rl` in its entry) is not trained in
that paradigm. It has all five checkpoints, or only the last. With `checkpoints: last`, only the
last checkpoints are studied, although training saves all five.
"""

from collections.abc import Mapping
from typing import Any

from crosslens.config.sections import FamilyConfig, ModelSource

N_CHECKPOINTS = 5  # at 20%, 40%, ... of the epoch
PARADIGMS = ("sft", "rl")
FINAL = {"base": "base", "sft": f"sft-{N_CHECKPOINTS}", "rl": f"rl-{N_CHECKPOINTS}"}


def given_checkpoints(family: FamilyConfig, paradigm: str) -> list[ModelSource]:
    """Return the user-supplied checkpoints of a paradigm; none if the family is trained in it."""
    return getattr(family, paradigm) or []


def trained(family: FamilyConfig) -> list[str]:
    """Return the paradigms in which the study trains this family."""
    return [paradigm for paradigm in PARADIGMS if not given_checkpoints(family, paradigm)]


def trains(families: Mapping[str, FamilyConfig]) -> bool:
    """Return whether any family is trained, which needs problems and a teacher's traces."""
    return any(map(trained, families.values()))


def checkpoints(family: FamilyConfig, paradigm: str) -> list[int]:
    """Return the numbers of a paradigm's checkpoints that are studied: all, or only the last."""
    only_last = family.checkpoints == "last" or len(given_checkpoints(family, paradigm)) == 1
    return [N_CHECKPOINTS] if only_last else list(range(1, N_CHECKPOINTS + 1))


def unstudied(family: FamilyConfig) -> int:
    """Return how many checkpoints are trained and saved, but not studied."""
    return sum(N_CHECKPOINTS - len(checkpoints(family, p)) for p in trained(family))


def tuned(family: FamilyConfig) -> list[str]:
    """Return all variants but base, `sft-1` to `rl-5`."""
    return [f"{p}-{k}" for p in PARADIGMS for k in checkpoints(family, p)]


def variants(family: FamilyConfig) -> list[str]:
    """Return all models of the family, base first."""
    return ["base", *tuned(family)]


def given(family: FamilyConfig) -> dict[str, ModelSource]:
    """Return variant -> model for the user-supplied models of the family, base first."""
    models = {"base": ModelSource(model=family.base, revision=family.revision)}
    for paradigm in PARADIGMS:
        sources = given_checkpoints(family, paradigm)
        numbers = checkpoints(family, paradigm) if sources else []
        studied = sources[-len(numbers) :] if numbers else []
        models |= {f"{paradigm}-{k}": s for k, s in zip(numbers, studied, strict=True)}
    return models


def merge(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with some of them replaced; the options of a backend are merged."""
    return {
        **shared,
        **{
            key: {**shared[key], **value}
            if isinstance(value, dict) and isinstance(shared.get(key), dict)
            else value
            for key, value in own.items()
        },
    }
