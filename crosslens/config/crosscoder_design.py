"""Define which crosscoders a family has, and what their names mean.

A name is {models} or {models}-{variation}, where models is a tuned variant (a pair with base),
"trio" (base and both final models), or "sft-checkpoints" and "rl-checkpoints" (base and all
checkpoints of a paradigm). Its directory is {name}-r{replicate}. The replicate is 0, or one of 1 to
`extra_seeds`; the crosscoder's seed is config["seed"] + replicate. Crosscoders of one purpose are a
group: one job trains them on a shard, so that 26 crosscoders start nine jobs. `settings` is the
section `crosscoder` of the configuration.
"""

import re
from typing import Any, NamedTuple

from crosslens.config.sections import CrosscoderConfig, FamilyConfig
from crosslens.config.study_design import (
    FINAL,
    N_CHECKPOINTS,
    PARADIGMS,
    checkpoints,
    tuned,
    variants,
)

TRIO_MODELS = "trio"
TRIO = f"{TRIO_MODELS}-r0"  # the crosscoder that most results are about
MATCHED = "sft-matched"  # between base and the final SFT model, as far from base as the RL model
TOPK = "topk"
INPUTS = ("swapped", "noise", "self", "differences")  # variations, see crosslens.crosscoder.inputs
VARIATION = rf"-(?:{'|'.join([TOPK, *INPUTS])})"
PATTERN = rf"(?:(?:sft|rl)-(?:[1-{N_CHECKPOINTS}]|checkpoints)|trio|{MATCHED})(?:{VARIATION})?"
GROUP = "|".join(
    [*PARADIGMS, TRIO_MODELS, r"seed-\d+", "matched", "checkpoints", rf"{TOPK}(?:-\d+)?", *INPUTS]
)


class Design(NamedTuple):
    """The models, inputs and activation that a crosscoder is trained with."""

    models: list[str]  # the variants whose activations it reads, base first
    inputs: str  # what it is given of them: activations, or one of INPUTS
    activation: str  # relu_l1 or batch_topk
    reference: str | None  # the crosscoder whose L0 it follows


def design(name: str, family: FamilyConfig, settings: CrosscoderConfig) -> Design:
    """Return the design that a name without its seed stands for."""
    models, variation = parts_of(name)
    topk = variation == TOPK
    return Design(
        models_of(models, family),
        variation if variation in INPUTS else "activations",
        "batch_topk" if topk else settings.activation,
        models if topk and settings.batch_topk.k == "matched" else None,
    )


def trained_as(
    directory: str, family: FamilyConfig, settings: CrosscoderConfig, seed: int
) -> dict[str, Any]:
    """Return a crosscoder's design, its seed, and whether its first pass is in file order.

    Only the first seed reads shards in file order, which is fastest. Rows are shuffled when a shard
    is written, so file order is random, too; but each seed needs an order of its own.
    """
    name, _, replicate = directory.rpartition("-r")
    fields = design(name, family, settings)._asdict()
    if fields["reference"]:
        fields["reference"] += f"-r{replicate}"
    return fields | {"seed": seed + int(replicate), "in_order": replicate == "0"}


def models_of(models: str, family: FamilyConfig) -> list[str]:
    """Return the variants that a name's first part aligns, base first."""
    if models == TRIO_MODELS:
        return list(FINAL.values())
    paradigm, _, last = models.partition("-")
    if last == "checkpoints":
        return ["base", *(f"{paradigm}-{k}" for k in checkpoints(family, paradigm))]
    return ["base", models]


def base_name(directory: str) -> str:
    """Return a crosscoder's name without its seed."""
    return directory.rpartition("-r")[0]


def parts_of(name: str) -> tuple[str, str]:
    """Return the two parts of a name without its seed: the models, and the variation or ""."""
    models = re.sub(rf"{VARIATION}$", "", name)
    return models, name[len(models) + 1 :]


def group_of(directory: str) -> str:
    """Return the group whose job trains a crosscoder.

    A new seed, each kind of evidence and each new seed of it is a group of its own, so that it can
    be added without training the others again while the shards exist. BatchTopK follows the
    crosscoders of its own seed, so it cannot be in their group.
    """
    name, _, replicate = directory.rpartition("-r")
    models, variation = parts_of(name)
    if replicate != "0":
        return f"{variation or 'seed'}-{replicate}"
    if variation:
        return variation
    if models == MATCHED:
        return "matched"
    return "checkpoints" if models.endswith("checkpoints") else models.partition("-")[0]


def groups(family: FamilyConfig, settings: CrosscoderConfig) -> dict[str, list[str]]:
    """Return the directories of each group's crosscoders."""
    directories: dict[str, list[str]] = {}
    for directory in crosscoders(family, settings):
        directories.setdefault(group_of(directory), []).append(directory)
    return directories


def group_models(family: FamilyConfig, settings: CrosscoderConfig) -> dict[str, list[str]]:
    """Return the variants whose activations each group's crosscoders read, base first."""
    return {
        group: list(
            dict.fromkeys(
                model
                for directory in members
                for model in design(base_name(directory), family, settings).models
            )
        )
        for group, members in groups(family, settings).items()
    }


def seeds(name: str, settings: CrosscoderConfig) -> list[str]:
    """Return the directories of a crosscoder for every seed."""
    return [f"{name}-r{r}" for r in range(settings.extra_seeds + 1)]


def trios(settings: CrosscoderConfig) -> list[str]:
    """Return the directories of the crosscoders whose generalization features are selected.

    These are the three-model crosscoders: every seed, and those with BatchTopK. Features are edited
    with every seed and with BatchTopK's first seed.
    """
    return [*seeds(TRIO_MODELS, settings), *topk_seeds(TRIO_MODELS, settings)]


def topk_seeds(models: str, settings: CrosscoderConfig) -> list[str]:
    """Return the directories of some models' BatchTopK crosscoders, if there are any."""
    if "batch_topk" not in settings.evidence:
        return []
    every = seeds(f"{models}-{TOPK}", settings)
    return every if "batch_topk_seeds" in settings.evidence else every[:1]


def evidence(family: FamilyConfig, settings: CrosscoderConfig) -> list[str]:
    """Return the directories of the crosscoders that the evidence asks for.

    There is one seed of each, but every seed of BatchTopK if `batch_topk_seeds` is requested.
    """
    pairs, asked = [FINAL[p] for p in PARADIGMS], settings.evidence
    kinds = [kind for kind in ("swapped", "noise") if kind in asked]
    names = [f"{name}-{kind}" for kind in kinds for name in [*pairs, TRIO_MODELS]]
    if "self" in asked:
        names.append(f"{FINAL['rl']}-self")
    if "differences" in asked:
        names += [f"{name}-differences" for name in pairs]
    if "drift_matched" in asked:
        names.append(MATCHED)
    if "checkpoints" in asked:
        several = [p for p in PARADIGMS if len(checkpoints(family, p)) > 1]
        names += [f"{paradigm}-checkpoints" for paradigm in several]
    topk = [directory for name in [*pairs, TRIO_MODELS] for directory in topk_seeds(name, settings)]
    return [*topk, *(f"{name}-r0" for name in names)]


def crosscoders(family: FamilyConfig, settings: CrosscoderConfig) -> list[str]:
    """Return the directories of all crosscoders of a family.

    Those of final models, both two-model crosscoders and the trio, are trained with every seed.
    """
    first = [f"{variant}-r0" for variant in tuned(family)]
    finals = [*(FINAL[p] for p in PARADIGMS), TRIO_MODELS]
    several = [directory for name in finals for directory in seeds(name, settings)]
    return list(dict.fromkeys([*first, *several, *evidence(family, settings)]))


def with_nrn(family: FamilyConfig, settings: CrosscoderConfig) -> list[str]:
    """Return the directories of the crosscoders whose features have an NRN: all of two models."""
    designs = {
        name: design(base_name(name), family, settings) for name in crosscoders(family, settings)
    }
    return [
        name
        for name, plan in designs.items()
        if len(plan.models) == 2 and plan.inputs != "differences"
    ]


def with_mas(family: FamilyConfig, settings: CrosscoderConfig) -> list[str]:
    """Return the directories of the crosscoders whose features have a MAS: all of the trio."""
    return [name for name in crosscoders(family, settings) if name.startswith(TRIO_MODELS)]


def over_checkpoints(family: FamilyConfig, settings: CrosscoderConfig) -> list[str]:
    """Return the directories of the crosscoders of base and all checkpoints of a paradigm."""
    return [name for name in evidence(family, settings) if "-checkpoints-" in name]


def of_differences(family: FamilyConfig, settings: CrosscoderConfig) -> list[str]:
    """Return the directories of the autoencoders of a final model's difference from base."""
    return [name for name in evidence(family, settings) if "-differences-" in name]


def set_of(variant: str) -> str:
    """Return the set of models that a variant is extracted with: its paradigm, or itself."""
    return variant if variant in ("base", MATCHED) else variant.partition("-")[0]


def extraction_sets(family: FamilyConfig, settings: CrosscoderConfig) -> dict[str, list[str]]:
    """Return the variants of each set whose activations one job extracts, base first."""
    variants: dict[str, list[str]] = {}
    for variant in extracted(family, settings):
        variants.setdefault(set_of(variant), []).append(variant)
    return variants


def extracted(family: FamilyConfig, settings: CrosscoderConfig) -> list[str]:
    """Return the variants whose activations are extracted, base first."""
    matched = [MATCHED] if "drift_matched" in settings.evidence else []
    return [*variants(family), *matched]
