"""Estimate the bytes that a study takes on disk, and their peak."""

from collections.abc import Mapping
from typing import NamedTuple

from crosslens.config import crosscoder_design, study_design
from crosslens.config.sections import FamilyConfig
from crosslens.config.study import StudyConfig
from crosslens.workflow.cost_estimate.crosscoder_size import crosscoder_slots, weights
from crosslens.workflow.cost_estimate.model_sizes import Size, size_of
from crosslens.workflow.cost_estimate.rates import ADAM, GRPO_STATE, ROW


class Disk(NamedTuple):
    """The largest number of bytes that each part of one family takes."""

    rolling: float  # shards: `shards_on_disk` of each variant
    all_shards: float  # all shards at once, which never exist
    heldout: float
    states: float
    crosscoders: float
    models: float
    training: float  # of GRPO, gone when its last checkpoint is exported


def disk_of(study: StudyConfig, family: FamilyConfig, size: Size) -> Disk:
    """Return the bytes that a family takes on disk."""
    corpus, settings = study.corpus, study.activations
    variants = len(crosscoder_design.extracted(family, study.crosscoder))
    kept = 1 - settings.skip_positions / corpus.sequence_length
    token = variants * (2 * size.d_model + ROW) * kept
    all_shards = token * corpus.tokens
    groups = [
        sum(
            weights(study, size, slots)
            for slots in crosscoder_slots(group, family, study.crosscoder)
        )
        for group in crosscoder_design.groups(family, study.crosscoder).values()
    ]
    return Disk(
        rolling=all_shards * min(1, settings.shards_on_disk / settings.shards),
        all_shards=all_shards,
        heldout=token * corpus.heldout_tokens,
        states=ADAM * (sum(groups) + max(groups)),  # one is read while the next one is written
        crosscoders=4 * sum(groups),
        models=2 * size.parameters * (variants + study_design.unstudied(family)),
        training=GRPO_STATE * size.parameters if "rl" in study_design.trained(family) else 0.0,
    )


def disks(study: StudyConfig) -> dict[str, Disk]:
    """Return `disk_of` for every family."""
    return {
        name: disk_of(
            study,
            family,
            size_of(f"families.{name}.base", study_design.given(family)["base"], study),
        )
        for name, family in study.families.items()
    }


def peak(needs: Mapping[str, Disk], *, rolling: bool, at_once: bool) -> float:
    """Return the peak in bytes, with the shards of all families at once or of one after another.

    What stays (models, crosscoders) counts for all families. If families take turns, later ones may
    be in training while one has its shards; earlier ones are finished.
    """
    families = list(needs.values())
    stays = sum(disk.crosscoders + disk.models for disk in families)
    goes = [
        max(
            disk.training,
            (disk.rolling if rolling else disk.all_shards) + disk.heldout + disk.states,
        )
        for disk in families
    ]
    later = [sum(disk.training for disk in families[i + 1 :]) for i in range(len(families))]
    return stays + (sum(goes) if at_once else max(map(sum, zip(goes, later, strict=True))))
