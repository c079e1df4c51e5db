"""Input functions of models and data: what is downloaded, trained and evaluated, by which settings.

INPUTS: the names of common.smk.
OUTPUTS: none; functions of the wildcards `w`, used by the rule files.
"""


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


def synthetic(key):
    """A key of the section `world`; None without the section, whose rules run no job then."""
    return lookup(dpath=f"world/{key}", within=config, default=None)


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


def evaluation_settings(*keys):
    """Some keys of the section `evaluation`, so that a change of the others reruns nothing."""
    return {key: config["evaluation"][key] for key in keys}


def math_answers(w):
    """A model's answers to each math set; no files where evaluate_model samples them itself."""
    return [
        f"<results>/evaluation/{{family}}/{{variant}}/answers/{task}.jsonl"
        for task in SAMPLED_BY_VLLM
    ]
