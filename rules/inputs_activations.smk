"""Input functions of activations: which models are extracted together, and what a shard waits for.

INPUTS: the names of common.smk.
OUTPUTS: none; functions of the wildcards `w`, used by the rule files.
"""

from functools import cache


@cache
def sets_of(family):
    """Return the models of a family that each extraction reads, base first."""
    return crosscoder_design.extraction_sets(FAMILIES[family], CROSSCODER)


def extraction_sets(w):
    """Return the names of a family's sets of models that are extracted together."""
    return sets_of(w.family)


def models_to_extract(w):
    """Return the models that an extraction reads."""
    return [f"<results>/models/{{family}}/{v}" for v in sets_of(w.family)[w.model_set]]


def sets_with(variants):
    """Return the sets that some models are extracted in, each once."""
    return list(dict.fromkeys(map(crosscoder_design.set_of, variants)))


@cache
def groups_of(family):
    """Return the variants that each group of a family's crosscoders reads, base first."""
    return crosscoder_design.group_models(FAMILIES[family], CROSSCODER)


def sets_of_group(w):
    """Return the sets with the models whose activations a group's crosscoders read."""
    return sets_with(groups_of(w.family)[w.group])


def back_pressure(w):
    """Return what a shard waits for, so that at most `shards_on_disk` of a variant exist at once.

    Shard i waits until every group of crosscoders has trained on shard i - `shards_on_disk`, which
    its history file shows: the states next to it are deleted as soon as the next ones exist. The
    first shards wait for the start of their family.
    """
    if w.shard == "heldout" or int(w.shard) < config["activations"]["shards_on_disk"]:
        return start_of_family(w)
    consumed = int(w.shard) - config["activations"]["shards_on_disk"]
    return [
        f"<results>/crosscoders/{{family}}/groups/{group}/history-{consumed}.csv"
        for group, variants in groups_of(w.family).items()
        if w.model_set in sets_with(variants)
    ]


def requested_targets():
    """Return the targets that were requested by name; none for the whole study."""
    return set(map(str, workflow.dag_settings.targets)) - {"all"}


def start_of_family(w):
    """Return the marker file that lets a family's extraction start; its age does not count.

    If targets are requested by name and the marker exists, no job is planned for it: the job
    would have other inputs than in a run of the whole study, and Snakemake would rerun it.
    """
    marker = f"{RESULTS}/activations/{w.family}/started"
    exists = requested_targets() and Path(marker).exists()
    return ancient(before_update(marker)) if exists else ancient(marker)


def previous_family(w):
    """Return the finished crosscoders of the previous family, whose shards are deleted by then.

    No file where targets are requested by name: these need nothing of other families.
    """
    names = list(FAMILIES)
    previous = names[: names.index(w.family)][-1:]
    return [
        f"<results>/crosscoders/{family}/{name}/quality.json"
        for family in ([] if requested_targets() else previous)
        for name in crosscoder_design.crosscoders(FAMILIES[family], CROSSCODER)
    ]
