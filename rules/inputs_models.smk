"""Input functions of models and data: what is downloaded, trained and evaluated, by which settings.

INPUTS: the names of common.smk.
OUTPUTS: none; functions of the wildcards `w`, used by the rule files.
"""


def user_supplied_model(w):
    """Return a model that the user supplies: its directory, or its name and revision on the hub."""
    return study_design.given(FAMILIES[w.family])[w.variant]


def model_name(w):
    """Return the directory or hub name of a user-supplied model."""
    return user_supplied_model(w).model


def model_revision(w):
    """Return the hub revision of a user-supplied model; None for a directory."""
    return user_supplied_model(w).revision


def model_directory(w):
    """Return the directory of a user-supplied model; no file for one of the hub."""
    return [] if model_revision(w) else model_name(w)


def base_of_tuned(w):
    """Return the base model that a tuned one is compared with; no file for base itself."""
    return [] if w.variant == "base" else "<results>/models/{family}/base"


def downloaded(*keys):
    """Return the records of what some keys download to the hub's cache; no file for local data."""
    return [f"{RESULTS}/downloads/{key}.json" for key in keys if key in DOWNLOADS]


def model_download(w):
    """Return the record of the download of a user-supplied model."""
    return downloaded(f"families.{w.family}.{w.variant}")


def source_downloads(*sections):
    """Return the records of the downloads of the data sets below some sections."""
    parts = tuple(f"{section}." for section in sections)
    return downloaded(*(key for key in DOWNLOADS if key.startswith(parts)))


def prepared_benchmarks():
    """Return the benchmarks that are made from the hub's or other local data."""
    sources = config["evaluation"]["files"]
    return [f for t, f in BENCHMARK_FILES.items() if f != sources[t]["dataset"]]


def benchmark_source(w):
    """Return a local data set that a benchmark is made from, or the record of its download."""
    key = f"evaluation.files.{w.task}"
    return downloaded(key) or config["evaluation"]["files"][w.task]["dataset"]


def teacher_directory():
    """Return the directory of the teacher; no file for one of the hub, or without a teacher."""
    return [] if "revision" in TRACES else TRACES.get("teacher", [])


def synthetic(key):
    """Return a key of the section `world`; None without the section, whose rules then run no job."""
    return lookup(dpath=f"world/{key}", within=config, default=None)


def sft_settings(w):
    """Return the settings of SFT for a family: its overrides over the study's."""
    return STUDY.training_settings(w.family)["sft"]


def grpo_settings(w):
    """Return the settings of GRPO for a family: its overrides over the study's."""
    return STUDY.training_settings(w.family)["grpo"]


def prompt_settings(w):
    """Return the settings of GRPO that decide which prompts fit."""
    settings = grpo_settings(w)
    return {key: settings[key] for key in ("max_prompt_length", "batch_size")}


def evaluation_settings(*keys):
    """Return some keys of `evaluation`, so that a change of the others reruns nothing."""
    return {key: config["evaluation"][key] for key in keys}


def math_answers(w):
    """Return a model's answers to each math set; no files where evaluate_model samples them."""
    return [
        f"<results>/evaluation/{{family}}/{{variant}}/answers/{task}.jsonl"
        for task in SAMPLED_BY_VLLM
    ]
