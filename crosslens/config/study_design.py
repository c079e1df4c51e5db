"""The design of the study: which models a family has, and which crosscoders compare them.

A family that brings checkpoints of its own (`sft` or `rl` in its entry) is not trained: it may give
all five of a paradigm, one per fifth of the epoch, or the last alone.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

N_CHECKPOINTS = 5  # fifths of the epoch
PARADIGMS = ("sft", "rl")
FINAL = {"base": "base", "sft": f"sft-{N_CHECKPOINTS}", "rl": f"rl-{N_CHECKPOINTS}"}
TRIO = "trio-r0"
SYNTHETIC_POSITIONS = 512  # max_position_embeddings of the synthetic models
FACTS_FILE = "synthetic-facts.json"  # in a pretrained synthetic model: whose facts it has read

Family = Mapping[str, Any]


def trained(family: Family) -> list[str]:
    """The paradigms that the study trains in this family."""
    return [paradigm for paradigm in PARADIGMS if paradigm not in family]


def trains(config: Mapping[str, Any]) -> bool:
    """Whether any family is trained: else neither problems nor a teacher's traces are needed."""
    return any(map(trained, config["families"].values()))


def checkpoints(family: Family, paradigm: str) -> list[int]:
    """The fifths of the epoch after which there is a checkpoint: all, or only the last."""
    only_last = len(family.get(paradigm, ())) == 1
    return [N_CHECKPOINTS] if only_last else list(range(1, N_CHECKPOINTS + 1))


def tuned(family: Family) -> list[str]:
    """The variants beside base, `sft-1` to `rl-5`."""
    return [f"{p}-{k}" for p in PARADIGMS for k in checkpoints(family, p)]


def variants(family: Family) -> list[str]:
    """All models of the family, base first."""
    return ["base", *tuned(family)]


class Model(NamedTuple):
    """Where a model comes from: a directory, or with a revision a model of the hub."""

    name: str
    revision: str | None = None


def given(family: Family) -> dict[str, Model]:
    """Variant -> model, for those that the family brings with it, base first."""
    found = {"base": Model(family["base"], family.get("revision"))}
    for paradigm in PARADIGMS:
        if paradigm in family:
            models = zip(checkpoints(family, paradigm), family[paradigm], strict=True)
            found |= {
                f"{paradigm}-{k}": Model(entry["model"], entry.get("revision"))
                for k, entry in models
            }
    return found


def pairs(family: Family, replicas: int) -> list[str]:
    """Crosscoders of base and one tuned model; the final ones again with other seeds."""
    again = [f"{FINAL[p]}-r{r}" for p in PARADIGMS for r in range(1, replicas + 1)]
    return [f"{variant}-r0" for variant in tuned(family)] + again


def trios(replicas: int) -> list[str]:
    """Crosscoders of base and both final models: TRIO, and again with other seeds."""
    return [f"trio-r{r}" for r in range(replicas + 1)]


def crosscoders(family: Family, replicas: int) -> list[str]:
    """All crosscoders of a family: the pairs and the trios."""
    return [*pairs(family, replicas), *trios(replicas)]


def models_of(crosscoder: str) -> list[str]:
    """The variants that a crosscoder (`sft-3`, `trio`) aligns, base first."""
    return list(FINAL.values()) if crosscoder == "trio" else ["base", crosscoder]


def reading(variant: str, family: Family, replicas: int) -> list[str]:
    """The crosscoders that read a variant's activations."""
    return [
        name
        for name in crosscoders(family, replicas)
        if variant in models_of(name.rpartition("-r")[0])
    ]


def settings_of(config: dict[str, Any], section: str, family: str) -> dict[str, Any]:
    """The section `sft` or `grpo` for one family: its overrides over the study's settings."""
    return merge(config[section], config["families"][family]["overrides"].get(section, {}))


def merge(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with some of them replaced; options that are mappings are merged."""
    return {
        **shared,
        **{
            key: {**shared[key], **value}
            if isinstance(value, dict) and isinstance(shared.get(key), dict)
            else value
            for key, value in own.items()
        },
    }
