"""Input functions: which models, crosscoders and shards a job reads, and what it waits for.

INPUTS: the names of common.smk.
OUTPUTS: none; functions of the wildcards `w`, used by the rule files.
"""

from functools import cache


def user_supplied_model(w):
    """A model that the user supplies: its directory, or its name and revision on the hub."""
    return study_design.given(FAMILIES[w.family])[w.variant]


def model_name(w):
    """Directory or hub name of a user-supplied model."""
    return user_supplied_model(w).model


def model_revision(w):
    """Hub revision of a user-supplied model; None for a directory."""
    return user_supplied_model(w).revision


def model_directory(w):
    """Directory of a user-supplied model; no file for one of the hub."""
    return [] if model_revision(w) else model_name(w)


def base_of_tuned(w):
    """The base model that a tuned one is compared with; no file for base itself."""
    return [] if w.variant == "base" else "<results>/models/{family}/base"


def downloaded(*keys):
    """Record that what some keys name is in the hub's cache; no file where it is local."""
    return [f"{RESULTS}/downloads/{key}.json" for key in keys if key in DOWNLOADS]


def model_download(w):
    """Record of the download of a user-supplied model."""
    return downloaded(f"families.{w.family}.{w.variant}")


def source_downloads(*sections):
    """Records of the downloads of the data sets below some sections."""
    parts = tuple(f"{section}." for section in sections)
    return downloaded(*(key for key in DOWNLOADS if key.startswith(parts)))


def prepared_benchmarks():
    """The benchmarks that are made from the hub's or other local data."""
    sources = config["evaluation"]["files"]
    return [f for t, f in BENCHMARK_FILES.items() if f != sources[t]["dataset"]]


def benchmark_source(w):
    """A local data set that a benchmark is made from, or the record of its download."""
    key = f"evaluation.files.{w.task}"
    return downloaded(key) or config["evaluation"]["files"][w.task]["dataset"]


def teacher_directory():
    """Directory of the teacher; no file for one of the hub, or without a teacher."""
    return [] if "revision" in TRACES else TRACES.get("teacher", [])


@cache
def sets_of(family):
    """The models of a family that each extraction reads, base first."""
    return crosscoder_design.extraction_sets(FAMILIES[family], CROSSCODER)


def extraction_sets(w):
    """The names of a family's sets of models that are extracted together."""
    return sets_of(w.family)


def models_to_extract(w):
    """The models that an extraction reads."""
    return [f"<results>/models/{{family}}/{v}" for v in sets_of(w.family)[w.model_set]]


def sets_with(variants):
    """The sets that some models are extracted in, each once."""
    return list(dict.fromkeys(map(crosscoder_design.set_of, variants)))


def crosscoders_with_nrn(w):
    """A family's crosscoders of two models."""
    return crosscoder_design.with_nrn(FAMILIES[w.family], CROSSCODER)


def crosscoders_with_mas(w):
    """A family's crosscoders of base and both final models."""
    return crosscoder_design.with_mas(FAMILIES[w.family], CROSSCODER)


def crosscoders_over_checkpoints(w):
    """A family's crosscoders of base and all checkpoints of a paradigm."""
    return crosscoder_design.over_checkpoints(FAMILIES[w.family], CROSSCODER)


def design_of(w):
    """What a crosscoder is trained on, and how."""
    return crosscoder_design.design(w.crosscoder, FAMILIES[w.family], CROSSCODER)


def aligned_variants(w):
    """The models that a crosscoder aligns, base first."""
    return design_of(w).models


def sets_of_crosscoder(w):
    """The sets with the models that a crosscoder aligns."""
    return sets_with(aligned_variants(w))


@cache
def groups_of(family):
    """The variants that each group of a family's crosscoders reads, base first."""
    return crosscoder_design.group_models(FAMILIES[family], CROSSCODER)


def sets_of_group(w):
    """The sets with the models whose activations a group's crosscoders read."""
    return sets_with(groups_of(w.family)[w.group])


@cache
def designs_of(family, group):
    """Each crosscoder of a group by its directory: what it is trained on, how, and its seed."""
    entry = FAMILIES[family]
    return {
        directory: crosscoder_design.trained_as(
            directory, entry, CROSSCODER, config["seed"]
        )
        for directory in crosscoder_design.groups(entry, CROSSCODER)[group]
    }


def group_designs(w):
    """The designs of the job's crosscoders."""
    return designs_of(w.family, w.group)


def reference_histories(w):
    """The histories of the crosscoders whose L0 the group's follow.

    L0 is linear between logged steps, so the shard before this one gives the first step's.
    """
    references = {found["reference"] for found in group_designs(w).values()} - {None}
    groups = sorted({crosscoder_design.group_of(directory) for directory in references})
    return [
        f"<results>/crosscoders/{{family}}/groups/{group}/history-{shard}.csv"
        for group in groups
        for shard in range(max(0, int(w.shard) - 1), int(w.shard) + 1)
    ]


def trained_group(w):
    """The directory of the group that a crosscoder is trained in."""
    group = crosscoder_design.group_of(f"{w.crosscoder}-r{w.replicate}")
    return f"<results>/crosscoders/{{family}}/groups/{group}"


def last_states(w):
    """The states of a crosscoder's group after the last shard."""
    return f"{trained_group(w)}/states-{SHARDS[-1]}"


def histories(w):
    """The histories of a crosscoder's group, all shards in order."""
    return [f"{trained_group(w)}/history-{shard}.csv" for shard in SHARDS]


def reference_quality(w):
    """The quality of the crosscoder whose L0 this one has; no file for one that has its own L0."""
    reference = design_of(w).reference
    path = f"<results>/crosscoders/{{family}}/{reference}-r{{replicate}}"
    return f"{path}/quality.json" if reference else []


def crosscoder_settings():
    """Settings of a crosscoder, without those that only say which crosscoders there are."""
    choices = ("extra_seeds", "activation", "evidence")
    settings = config["crosscoder"].items()
    return {key: value for key, value in settings if key not in choices}


def crosscoder_seed(w):
    """Seed of a crosscoder: each replicate has its own."""
    return config["seed"] + int(w.replicate)


def previous_states(w):
    """The states that training on a shard starts from; no files for the first shard."""
    path = "<results>/crosscoders/{family}/groups/{group}/states-"
    return f"{path}{int(w.shard) - 1}" if int(w.shard) else []


def back_pressure(w):
    """What a shard waits for, so that at most `shards_on_disk` shards of a variant exist at once.

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
    """The targets that were requested by name; none for the whole study."""
    return set(map(str, workflow.dag_settings.targets)) - {"all"}


def start_of_family(w):
    """Marker file that lets a family's extraction start; only its order counts, not its age.

    If targets are requested by name and the marker exists, no job is planned for it: the job
    would have other inputs than in a run of the whole study, and Snakemake would rerun it.
    """
    marker = f"{RESULTS}/activations/{w.family}/started"
    exists = requested_targets() and Path(marker).exists()
    return ancient(before_update(marker)) if exists else ancient(marker)


def previous_family(w):
    """The finished crosscoders of the previous family, whose shards are deleted by then.

    No file where targets are requested by name: these need nothing of other families.
    """
    names = list(FAMILIES)
    previous = names[: names.index(w.family)][-1:]
    return [
        f"<results>/crosscoders/{family}/{name}/quality.json"
        for family in ([] if requested_targets() else previous)
        for name in crosscoder_design.crosscoders(FAMILIES[family], CROSSCODER)
    ]


def sft_settings(w):
    """Settings of SFT for a family: its overrides over the study's."""
    return STUDY.training_settings(w.family)["sft"]


def grpo_settings(w):
    """Settings of GRPO for a family: its overrides over the study's."""
    return STUDY.training_settings(w.family)["grpo"]


def prompt_settings(w):
    """The settings of GRPO that decide which prompts fit."""
    settings = grpo_settings(w)
    return {key: settings[key] for key in ("max_prompt_length", "batch_size")}


def synthetic(key):
    """A key of the section `world`; None without the section, whose rules run no job then."""
    return lookup(dpath=f"world/{key}", within=config, default=None)


def protocol_settings(*keys):
    """Some keys of the section `causal_protocol`, so that a change of the others reruns nothing."""
    return {key: config["causal_protocol"][key] for key in keys}


def evaluation_settings(*keys):
    """Some keys of the section `evaluation`, so that a change of the others reruns nothing."""
    return {key: config["evaluation"][key] for key in keys}


def math_answers(w):
    """A model's answers to each math set; no files where evaluate_model samples them itself."""
    return [
        f"<results>/evaluation/{{family}}/{{variant}}/answers/{task}.jsonl"
        for task in SAMPLED_BY_VLLM
    ]


def other_seeds_of_trio():
    """The three-model crosscoder from other seeds; none without `crosscoder.extra_seeds`."""
    return crosscoder_design.seeds(crosscoder_design.TRIO_MODELS, CROSSCODER)[1:]


def edited_models():
    """The seeds and models that features are edited in; SFT only for the first seed."""
    trios = crosscoder_design.seeds(crosscoder_design.TRIO_MODELS, CROSSCODER)
    edited = [f"{trio}/{model}" for trio in trios for model in ["base", FINAL["rl"]]]
    sft = config["causal_protocol"]["sft_control"]
    return [*edited, f"{trios[0]}/{FINAL['sft']}"] if sft else edited
