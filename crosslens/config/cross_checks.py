"""Values of a configuration that must fit each other; no file is read.

Each check raises InputError at the first fault.
"""

from copy import deepcopy
from typing import Any

from crosslens.config import benchmark_columns
from crosslens.config.backend_options import check_grpo_options
from crosslens.config.schema import suggestion, validate_config
from crosslens.config.study_design import N_CHECKPOINTS, PARADIGMS, settings_of, trained, trains
from crosslens.io.errors import InputError

GPU_RULES = (  # their scripts hold GPUs (crosslens.workflow.gpu_locks); the others compute on CPUs
    *("generate_traces", "train_sft", "train_grpo", "evaluate_model", "extract_activations"),
    *("train_crosscoder", "evaluate_crosscoder", "score_features", "intervene"),
)


def check_values(
    config: dict[str, Any], schema: dict[str, Any], rules: set[str], gpus: int | None
) -> None:
    """All of these checks; `rules` are the workflow's, `gpus` is the limit, None without one.

    Raises InputError at the first fault.
    """
    check_design(config)
    check_overrides(config, schema)
    check_resources(config, rules)
    check_gpus(config, gpus)
    check_numbers(config)
    check_shards(config)
    check_devices(config)
    check_grpo(config)
    check_names(config, rules)
    check_tasks(config["evaluation"])
    check_world_tasks(config)
    check_world_corpora(config)


def check_design(config: dict[str, Any]) -> None:
    """Each family brings its models, or what they are trained on is given."""
    for family, entry in config["families"].items():
        missing = [key for key in ("problems", "traces") if key not in config]
        if trained(entry) and missing:
            raise InputError(
                f"{missing[0]}: missing, and families.{family} is trained on it: give the "
                f"section, or the family's own models as families.{family}.sft and .rl"
            )
        for paradigm in PARADIGMS:
            if (count := len(entry.get(paradigm, [0]))) not in (1, N_CHECKPOINTS):
                raise InputError(
                    f"families.{family}.{paradigm}: found {count} models, must be "
                    f"{N_CHECKPOINTS}, one per fifth of the training, or only the last"
                )


def check_overrides(config: dict[str, Any], schema: dict[str, Any]) -> None:
    """A family's own settings are as good as the study's."""
    for family, entry in config["families"].items():
        for section in entry["overrides"]:
            changed = deepcopy(config) | {section: settings_of(config, section, family)}
            try:
                validate_config(changed, schema)
                check_numbers(changed)
                check_grpo(changed)
            except InputError as error:
                raise InputError(f"families.{family}.overrides: {error}") from error


def check_resources(config: dict[str, Any], rules: set[str]) -> None:
    """Only rules that exist can be given resources (a rule is called as its script)."""
    for rule, needs in config["resources"].items():
        if rule not in rules:
            raise InputError(f"resources.{rule}: unknown rule{suggestion(rule, sorted(rules))}")
        if needs.get("gpu") and rule not in GPU_RULES:
            raise InputError(
                f"resources.{rule}.gpu: the rule runs on CPUs; those that use GPUs are "
                f"{', '.join(GPU_RULES)}"
            )


def check_gpus(config: dict[str, Any], limit: int | None) -> None:
    """No rule needs more GPUs than the limit, to which Snakemake would silently scale it down."""
    for rule, needs in config["resources"].items():
        if limit is not None and needs.get("gpu", 0) > limit:
            raise InputError(
                f"resources.{rule}.gpu: the rule needs {needs['gpu']} GPUs, and --resources "
                f"gpu={limit} allows {limit}: raise the limit or lower the need"
            )


def check_numbers(config: dict[str, Any]) -> None:
    """Sizes that must fit each other."""
    grpo, sft = config["grpo"], config["sft"]
    if trains(config):
        check_training_numbers(config)
    divides("grpo.mini_batch_size", grpo["mini_batch_size"], "grpo.batch_size", grpo["batch_size"])
    divides("sft.micro_batch_size", sft["micro_batch_size"], "sft.batch_size", sft["batch_size"])
    answer = grpo["max_prompt_length"] + grpo["max_response_length"]
    if grpo["engine"] == "verl" and grpo["tokens_per_device"] < answer:
        raise InputError(
            f"grpo.tokens_per_device: {grpo['tokens_per_device']} does not hold one prompt and "
            f"answer: {answer} tokens"
        )
    if "world" in config:
        check_world_model(config["world"]["model"])


def check_world_model(sizes: dict[str, Any]) -> None:
    """Sizes of which transformers can build a model with rotary positions."""
    heads, groups = sizes["num_attention_heads"], sizes["num_key_value_heads"]
    where = "world.model."
    divides(where + "num_key_value_heads", groups, where + "num_attention_heads", heads)
    if "head_dim" not in sizes:
        divides(where + "num_attention_heads", heads, where + "hidden_size", sizes["hidden_size"])
    elif sizes["head_dim"] % 2:
        raise InputError(f"world.model.head_dim: {sizes['head_dim']} is odd, must be even")


def check_training_numbers(config: dict[str, Any]) -> None:
    """The same of the training data."""
    least, most = config["problems"]["count"]
    if least > most:
        raise InputError(f"problems.count: {least} is more than {most}: write the least first")
    limit, longest = config["sft"]["max_length"], config["traces"]["max_new_tokens"]
    if limit < longest:
        raise InputError(
            f"sft.max_length: {limit} would cut traces, which have up to "
            f"traces.max_new_tokens: {longest} tokens: raise it or lower that"
        )


def divides(key: str, part: int, of: str, whole: int) -> None:
    """Raise InputError unless `part` divides `whole`."""
    if whole % part:
        raise InputError(f"{key}: {part} does not divide {of}: {whole}")


def check_shards(config: dict[str, Any]) -> None:
    """The corpus fills its shards: each holds a batch, and the held-out one holds a sequence."""
    corpus, size = config["corpus"], config["crosscoder"]["batch_size"]
    length, sources = corpus["sequence_length"], len(corpus["sources"])
    shards, skip = (config["activations"][key] for key in ("shards", "skip_positions"))
    if skip >= length:
        raise InputError(
            f"activations.skip_positions: {skip} leaves nothing of sequences of "
            f"corpus.sequence_length: {length} tokens"
        )
    rows = corpus["tokens"] // sources // length * sources // shards * (length - skip)
    if rows < size:
        raise InputError(
            f"corpus.tokens: {corpus['tokens']} tokens give each of activations.shards: {shards} "
            f"{rows} activations, fewer than crosscoder.batch_size: {size}: raise it, or lower "
            "those"
        )
    if corpus["heldout_tokens"] < sources * length:
        raise InputError(
            f"corpus.heldout_tokens: {corpus['heldout_tokens']} hold no sequence of "
            f"corpus.sequence_length: {length} tokens from each of {sources} sources"
        )


def check_devices(config: dict[str, Any]) -> None:
    """Settings of engines that are not the one in use, or that need GPUs."""
    gpus = config["resources"].get("train_sft", {}).get("gpu", 0)
    traces = config.get("traces", {"backend": "none"})
    for key in ("options", "engine"):
        if traces["backend"] == "transformers" and traces[key]:
            raise InputError(
                f"traces.{key}: {', '.join(traces[key])} would be vLLM's, and traces.backend is "
                "transformers: leave it empty"
            )
    if config["sft"]["deepspeed"] != "none" and not gpus:
        raise InputError(
            "sft.deepspeed: DeepSpeed needs GPUs, and resources.train_sft.gpu is 0: "
            "raise it, or say none"
        )


def check_grpo(config: dict[str, Any]) -> None:
    """GRPO has the devices it asks for, and no engine's own key changes the reward."""
    grpo, gpus = config["grpo"], config["resources"].get("train_grpo", {}).get("gpu", 0)
    check_grpo_options(grpo["options"])
    if grpo["device"] == "cuda" and not gpus:
        raise InputError(
            "grpo.device: cuda needs a GPU: set resources.train_grpo.gpu, or grpo.device: cpu"
        )
    if grpo["engine"] == "trl" and gpus > 1:
        raise InputError(
            f"grpo.engine: trl trains on one GPU, and resources.train_grpo.gpu is {gpus}: "
            "lower it, or take verl"
        )


def check_names(config: dict[str, Any], rules: set[str]) -> None:
    """Names in one section that another section must know, and targets that share a name."""
    targets = {
        "all",
        "plan",
        *rules,
        *(f"{x}{n}" for x in ("figure", "table") for n in range(1, 14)),
    }
    for family in targets & config["families"].keys():
        raise InputError(f"families.{family}: a target has this name: choose another")
    for family in config["figures"]["families"]:
        if family not in config["families"]:
            raise InputError(
                f"figures.families: unknown family {family}{suggestion(family, config['families'])}"
            )
    labels = [entry["label"] for entry in config["families"].values()]
    for family, entry in config["families"].items():
        if labels.count(entry["label"]) > 1:
            raise InputError(
                f"families.{family}.label: {entry['label']} is the label of another family too: "
                "tables and figures could not tell them apart"
            )


def check_world_tasks(config: dict[str, Any]) -> None:
    """The world writes the benchmarks of its own tasks only."""
    folder = f"results/{config['study']}/world/benchmarks/"
    for task, file in config["evaluation"]["files"].items():
        if str(file).startswith(folder) and task not in benchmark_columns.TASKS:
            raise InputError(
                f"evaluation.files.{task}: the world writes no {task}, only "
                f"{', '.join(sorted(benchmark_columns.TASKS))}: give another file, or none "
                "to load the hub's"
            )


def check_world_corpora(config: dict[str, Any]) -> None:
    """The world's corpora hold what the study takes: equal shares of whole sequences."""
    corpus, made = config["corpus"], config.get("world", {}).get("corpus_tokens", {})
    length, sources = corpus["sequence_length"], corpus["sources"]
    sizes = [corpus[key] // len(sources) // length for key in ("tokens", "heldout_tokens")]
    wanted = sum(sizes) * length
    files = {f"results/{config['study']}/world/corpora/{name}.jsonl": name for name in made}
    for name, source in sources.items():
        size = files.get(source if isinstance(source, str) else source["dataset"])
        if size and made[size] < wanted:
            raise InputError(
                f"corpus.tokens: {corpus['tokens']} and corpus.heldout_tokens: "
                f"{corpus['heldout_tokens']} take {wanted} tokens from corpus.sources.{name}, and "
                f"world.corpus_tokens.{size}: {made[size]} makes fewer: lower those or raise it"
            )


def check_tasks(evaluation: dict[str, Any]) -> None:
    """Every task is known, and stands in one list."""
    choice = [
        *(set(benchmark_columns.TASKS) - set(benchmark_columns.MATH)),
        *benchmark_columns.HUB_TASKS,
    ]
    for key in ("tasks", "unseen"):
        for task in evaluation[key]:
            if task in benchmark_columns.MATH:
                raise InputError(f"evaluation.{key}: {task} belongs into evaluation.math")
            if task not in choice:
                raise InputError(
                    f"evaluation.{key}: {task} is none of the multiple-choice tasks that "
                    f"crosslens/config/benchmark_columns.py knows{suggestion(task, sorted(choice))}"
                )
    for task in evaluation["unseen"]:
        if task in evaluation["tasks"]:
            raise InputError(f"evaluation.unseen: {task} stands in evaluation.tasks as well")
    known = [*evaluation["tasks"], *evaluation["unseen"], *evaluation["math"]]
    for task in evaluation["files"]:
        if task not in known:
            raise InputError(f"evaluation.files.{task}: unknown task{suggestion(task, known)}")
