"""Input functions of crosscoders: what each is trained on, and which ones later jobs read and edit.

INPUTS: the names of common.smk and inputs_activations.smk.
OUTPUTS: none; functions of the wildcards `w`, used by the rule files.
"""

from functools import cache


def design_of(w):
    """Return what a crosscoder is trained on, and how."""
    return crosscoder_design.design(w.crosscoder, FAMILIES[w.family], CROSSCODER)


def aligned_variants(w):
    """Return the models that a crosscoder aligns, base first."""
    return design_of(w).models


def sets_of_crosscoder(w):
    """Return the sets with the models that a crosscoder aligns."""
    return sets_with(aligned_variants(w))


@cache
def designs_of(family, group):
    """Return each crosscoder's inputs, settings and seed, by its directory, for one group."""
    entry = FAMILIES[family]
    return {
        directory: crosscoder_design.trained_as(
            directory, entry, CROSSCODER, config["seed"]
        )
        for directory in crosscoder_design.groups(entry, CROSSCODER)[group]
    }


def group_designs(w):
    """Return the designs of the job's crosscoders."""
    return designs_of(w.family, w.group)


def reference_histories(w):
    """Return the histories of the crosscoders whose L0 the group's follow.

    L0 is linear between logged steps, so the shard before this one gives the first step's.
    """
    references = {design["reference"] for design in group_designs(w).values()} - {None}
    groups = sorted({crosscoder_design.group_of(directory) for directory in references})
    return [
        f"<results>/crosscoders/{{family}}/groups/{group}/history-{shard}.csv"
        for group in groups
        for shard in range(max(0, int(w.shard) - 1), int(w.shard) + 1)
    ]


def reference_quality(w):
    """Return the quality of the crosscoder whose L0 this one has; no file if the L0 is its own."""
    reference = design_of(w).reference
    path = f"<results>/crosscoders/{{family}}/{reference}-r{{replicate}}"
    return f"{path}/quality.json" if reference else []


def trained_group(w):
    """Return the directory of the group that a crosscoder is trained in."""
    group = crosscoder_design.group_of(f"{w.crosscoder}-r{w.replicate}")
    return f"<results>/crosscoders/{{family}}/groups/{group}"


def previous_states(w):
    """Return the states that training on a shard starts from; no files for the first shard."""
    path = "<results>/crosscoders/{family}/groups/{group}/states-"
    return f"{path}{int(w.shard) - 1}" if int(w.shard) else []


def last_states(w):
    """Return the states of a crosscoder's group after the last shard."""
    return f"{trained_group(w)}/states-{SHARDS[-1]}"


def histories(w):
    """Return the histories of a crosscoder's group, all shards in order."""
    return [f"{trained_group(w)}/history-{shard}.csv" for shard in SHARDS]


def crosscoder_settings():
    """Return a crosscoder's settings, without those that only say which crosscoders exist."""
    choices = ("extra_seeds", "activation", "evidence")
    settings = config["crosscoder"].items()
    return {key: value for key, value in settings if key not in choices}


def crosscoder_seed(w):
    """Return the seed of a crosscoder: each replicate has its own."""
    return config["seed"] + int(w.replicate)


def crosscoders_with_nrn(w):
    """Return a family's crosscoders of two models."""
    return crosscoder_design.with_nrn(FAMILIES[w.family], CROSSCODER)


def crosscoders_with_mas(w):
    """Return a family's crosscoders of base and both final models."""
    return crosscoder_design.with_mas(FAMILIES[w.family], CROSSCODER)


def crosscoders_over_checkpoints(w):
    """Return a family's crosscoders of base and all checkpoints of a paradigm."""
    return crosscoder_design.over_checkpoints(FAMILIES[w.family], CROSSCODER)


def crosscoders_of_differences(w):
    """Return a family's autoencoders of a final model's difference from base."""
    return crosscoder_design.of_differences(FAMILIES[w.family], CROSSCODER)


def other_seeds_of_trio():
    """Return the three-model crosscoder from other seeds; none without `crosscoder.extra_seeds`."""
    return crosscoder_design.seeds(crosscoder_design.TRIO_MODELS, CROSSCODER)[1:]


def edited_models():
    """Return the seeds and models that features are edited in; SFT only for the first seed."""
    trios = crosscoder_design.seeds(crosscoder_design.TRIO_MODELS, CROSSCODER)
    edited = [f"{trio}/{model}" for trio in trios for model in ["base", FINAL["rl"]]]
    sft = config["causal_protocol"]["sft_control"]
    return [*edited, f"{trios[0]}/{FINAL['sft']}"] if sft else edited


def edited_with_topk():
    """Return the same for the first seed of BatchTopK, without SFT; none without BatchTopK."""
    trios = crosscoder_design.topk_seeds(crosscoder_design.TRIO_MODELS, CROSSCODER)[:1]
    return [f"{trio}/{model}" for trio in trios for model in ["base", FINAL["rl"]]]


def is_trio(w):
    """Return whether a job edits by the crosscoder that most results are about."""
    return f"{w.crosscoder}-r{w.replicate}" == TRIO


def protocol_settings(*keys):
    """Return some keys of `causal_protocol`, so that a change of the others reruns nothing."""
    return {key: config["causal_protocol"][key] for key in keys}
