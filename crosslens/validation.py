"""What must hold before any job starts; a fault is one InputError with one line.

Cheap, and only local files are read. A file that rules/world.smk will make is judged by the `world`
section instead. Runs where Snakemake runs: no torch, no transformers.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

import yaml

from crosslens import columns
from crosslens.descent import check_descent
from crosslens.design import CHECKPOINTS, PARADIGMS, given, trained, trains
from crosslens.errors import InputError
from crosslens.families import settings_of
from crosslens.grpo.overrides import check_options
from crosslens.schema import suggestion, validate_config

WEIGHTS = "*.safetensors"  # pytorch_model.bin is a pickle, which may run code
MODELS = ("world/base", "world/teacher")
HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")
GPU_RULES = (  # their scripts hold GPUs (crosslens.gpus); the others compute on CPUs
    *("generate_traces", "train_sft", "train_grpo", "evaluate_model", "extract_activations"),
    *("train_crosscoder", "evaluate_crosscoder", "score_features", "intervene"),
)


def preflight(config: dict[str, Any], schema: Path, gpus: int | None = None) -> None:
    """Check the configuration, filling in its defaults, and every local file it names.

    `gpus` is the limit given by `--resources gpu=N`, None where there is none. Paths are relative
    to the working directory. Raises InputError at the first fault.
    """
    allowed = yaml.safe_load(schema.read_text())
    validate_config(config, allowed)
    check_design(config)
    check_overrides(config, allowed)
    rules = {path.stem for path in (schema.parent.parent / "scripts").glob("*.py")}
    check_resources(config, rules)
    check_gpus(config, gpus)
    check_numbers(config)
    check_shards(config)
    check_devices(config)
    check_grpo(config)
    check_names(config, rules)
    check_tasks(config["evaluation"])
    check_world(config)
    check_problems(config)
    if trains(config):
        traces = config["traces"]
        check_model("traces.teacher", traces["teacher"], traces.get("revision"), config)
    for family in config["families"]:
        check_family(family, config)
    check_benchmarks(config)
    check_corpus(config)


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
    """Snakemake would silently scale a rule down to the limit."""
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
        sizes = config["world"]["model"]
        heads, groups = sizes["num_attention_heads"], sizes["num_key_value_heads"]
        where = "world.model."
        divides(where + "num_key_value_heads", groups, where + "num_attention_heads", heads)
        if "head_dim" not in sizes:
            divides(
                where + "num_attention_heads", heads, where + "hidden_size", sizes["hidden_size"]
            )


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
    check_options(grpo["options"])
    if grpo["device"] == "cuda" and not gpus:
        raise InputError(
            "grpo.device: cuda needs a GPU: set resources.train_grpo.gpu, or grpo.device: cpu"
        )
    if grpo["engine"] == "trl" and gpus > 1:
        raise InputError(
            f"grpo.engine: trl trains on one GPU, and resources.train_grpo.gpu is {gpus}: "
            "lower it, or take verl"
        )


def divides(key: str, part: int, of: str, whole: int) -> None:
    """Raise InputError unless `part` divides `whole`."""
    if whole % part:
        raise InputError(f"{key}: {part} does not divide {of}: {whole}")


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


def check_tasks(evaluation: dict[str, Any]) -> None:
    """Every task is known, and stands in one list."""
    choice = [*(set(columns.TASKS) - set(columns.MATH)), *columns.HUB_TASKS]
    for key in ("tasks", "unseen"):
        for task in evaluation[key]:
            if task in columns.MATH:
                raise InputError(f"evaluation.{key}: {task} belongs into evaluation.math")
            if task not in choice:
                raise InputError(
                    f"evaluation.{key}: {task} is none of the multiple-choice tasks that "
                    f"crosslens/columns.py knows{suggestion(task, sorted(choice))}"
                )
    for task in evaluation["unseen"]:
        if task in evaluation["tasks"]:
            raise InputError(f"evaluation.unseen: {task} stands in evaluation.tasks as well")
    known = [*evaluation["tasks"], *evaluation["unseen"], *evaluation["math"]]
    for task in evaluation["files"]:
        if task not in known:
            raise InputError(f"evaluation.files.{task}: unknown task{suggestion(task, known)}")


def tasks(config: dict[str, Any]) -> list[str]:
    """All benchmarks of the study."""
    evaluation = config["evaluation"]
    return [*evaluation["tasks"], *evaluation["unseen"], *evaluation["math"]]


def named_paths(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, path) of everything the configuration reads."""
    if "traces" in config:
        yield "traces.teacher", config["traces"]["teacher"]
    for family, entry in config["families"].items():
        for variant, model in given(entry).items():
            yield f"families.{family}.{variant}", model.name
    for task, path in config["evaluation"]["files"].items():
        yield f"evaluation.files.{task}", path
    for key, source in named_sources(config):
        yield key, source if isinstance(source, str) else source["dataset"]


def named_sources(config: dict[str, Any]) -> Iterator[tuple[str, str | dict[str, str]]]:
    """(key, source) of every data set that the configuration reads."""
    for part in ("problems.sources", "problems.exclude", "corpus.sources"):
        section, key = part.split(".")
        for name, source in config.get(section, {}).get(key, {}).items():
            yield f"{part}.{name}", source


def local_sources(sources: Iterable[str | dict[str, str]]) -> list[str]:
    """The paths of those that are not of the hub."""
    local = [s for s in sources if isinstance(s, str) or "revision" not in s]
    return [source if isinstance(source, str) else source["dataset"] for source in local]


def made_here(path: str, config: dict[str, Any]) -> bool:
    """Whether rules/world.smk makes a file of this name."""
    return PurePosixPath(path).is_relative_to(f"results/{config['study']}/world")


def check_world(config: dict[str, Any]) -> None:
    """Paths below results/<study>/world/ are those that the world's rules make, and only those."""
    corpora = [f"world/corpora/{name}.jsonl" for name in ("reasoning", "general")]
    sets = [f"world/benchmarks/{task}.jsonl" for task in tasks(config) if task in columns.TASKS]
    products = ["world/problems.jsonl", *MODELS, *corpora, *sets]
    known = [f"results/{config['study']}/{product}" for product in products]
    for key, path in named_paths(config):
        if not made_here(path, config):
            continue
        if "world" not in config:
            raise InputError(
                f"{key}: {path} would be made by the section `world`, which is missing"
            )
        if path not in known:
            raise InputError(f"{key}: no rule makes {path}{suggestion(path, known)}")


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
            if (count := len(entry.get(paradigm, [0]))) not in (1, CHECKPOINTS):
                raise InputError(
                    f"families.{family}.{paradigm}: found {count} models, must be "
                    f"{CHECKPOINTS}, one per fifth of the training, or only the last"
                )


def check_family(family: str, config: dict[str, Any]) -> None:
    """The models that a family brings are complete and can be compared."""
    for variant, model in given(config["families"][family]).items():
        key = f"families.{family}.{variant}"
        layers = check_model(key, model.name, model.revision, config)
        check_layer(config["activations"]["layer"], layers, family)
    if found := variants(config, family):
        check_descent(family, found)


def check_problems(config: dict[str, Any]) -> None:
    """The sources of problems have their columns, and fill one batch for each checkpoint."""
    if not trains(config):
        return
    size, counts = config["grpo"]["batch_size"], []
    for name, source in config["problems"]["sources"].items():
        key = f"problems.sources.{name}"
        if path := check_source(key, source, config):
            counts.append((f"{key}: {path}", count_lines(key, path, CHECKPOINTS * size)))
            for names in columns.GIVEN_PROBLEMS:
                check_any_column(key, path, names)
        elif isinstance(source, str):
            counts.append(("world.problems", config["world"]["problems"]))
        else:  # unknown before the job that reads it
            counts.append(("problems.count", config["problems"]["count"][0]))
    for name, source in config["problems"]["exclude"].items():
        check_source(f"problems.exclude.{name}", source, config)
    check_steps(" and ".join(key for key, _ in counts), sum(count for _, count in counts), size)


def check_steps(key: str, count: int, size: int) -> None:
    """So many problems are enough for one step of `size` problems for each checkpoint."""
    if count < size:
        raise InputError(f"{key}: {count} problems are fewer than one grpo.batch_size: {size}")
    if count < CHECKPOINTS * size:
        raise InputError(
            f"{key}: {count} problems make {count // size} steps of grpo.batch_size: {size}, and "
            f"the {CHECKPOINTS} checkpoints need {CHECKPOINTS}"
        )


def check_source(key: str, source: str | dict[str, str], config: dict[str, Any]) -> str | None:
    """A data set is named as one of the hub is, or is there; a JSON-lines file's path, else None.

    None too where rules/world.smk makes the file.
    """
    source = {"dataset": source} if isinstance(source, str) else source
    path = source["dataset"]
    if "revision" in source:
        check_hub_name(key, path)
    elif not made_here(path, config):
        if Path(path).is_dir():
            return None
        return str(existing(key, path)) if path.endswith(".jsonl") else None
    return None


def check_hub_name(key: str, name: str) -> None:
    """What has a revision is named as on the hub."""
    if not HUB_NAME.match(name):
        raise InputError(
            f"{key}: {name} has a revision, but is no name on the hub (organization/name): "
            "correct it, or leave the revision out for a local path"
        )


def count_lines(key: str, path: str, enough: int) -> int:
    """Number of lines of a file that are not empty, counted up to `enough`."""
    with opened(key, path) as lines:
        return sum(1 for _ in islice(filter(str.strip, lines), enough))


def existing(key: str, path: str) -> Path:
    """A file that is there.

    Raises InputError naming the key, with a hint where the path belongs to another study.
    """
    if not Path(path).is_file():
        raise InputError(f"{key}: there is no file {path}")
    return Path(path)


@contextmanager
def opened(key: str, path: str | Path) -> Iterator[TextIO]:
    """Open a text file. Raises InputError when it is not there, not readable or no text."""
    try:
        with existing(key, str(path)).open(encoding="utf-8") as file:
            yield file
    except PermissionError as error:
        raise InputError(f"{key}: no permission to read {path}: correct it") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{key}: {path} is no UTF-8 text: give a text file") from error


def check_columns(key: str, path: str, needed: Iterable[str]) -> None:
    """Every row of a JSON-lines file has these columns."""
    first_row(key, path)
    with opened(key, path) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                check_row(key, path if number == 1 else f"{path}, line {number},", line, needed)


def check_row(key: str, where: str, line: str, needed: Iterable[str]) -> None:
    """One line is a JSON object with these columns."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        row = None
    if not isinstance(row, dict):
        raise InputError(f"{key}: {where} is not a JSON object")
    for column in needed:
        if column not in row:
            raise InputError(f"{key}: {where} lacks the column {column}; it has {', '.join(row)}")


def check_any_column(key: str, path: str, names: Iterable[str]) -> None:
    """The first row of a JSON-lines file has one of these columns."""
    row = first_row(key, path)
    if not set(names) & set(row):
        raise InputError(
            f"{key}: {path} lacks the column {' or '.join(names)}; it has {', '.join(row)}"
        )


def first_row(key: str, path: str) -> dict[str, Any]:
    """The first row of a JSON-lines file."""
    with opened(key, path) as lines:
        line = next(filter(str.strip, lines), "")
    if not line:
        raise InputError(f"{key}: {path} is empty")
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        row = None
    if not isinstance(row, dict):
        raise InputError(f"{key}: the first line of {path} is not a JSON object")
    return row


def check_model(key: str, path: str, revision: str | None, config: dict[str, Any]) -> int | None:
    """A model directory is complete; returns its number of decoder layers.

    None for a model of the hub, which is not asked before the job that downloads it.
    """
    if revision:
        return check_hub_name(key, path)
    if made_here(path, config):
        return config["world"]["model"]["num_hidden_layers"]
    folder = Path(path)
    if not folder.is_dir():
        hint = other_study(path, config)
        if HUB_NAME.match(path) and not hint:
            hint = f"; if it is a model of the hub, give the key revision beside {key} (or main)"
        raise InputError(f"{key}: there is no model directory {path}{hint}")
    if not any(folder.glob(WEIGHTS)):
        raise InputError(f"{key}: {path} has no weights ({WEIGHTS})")
    return read_object(key, folder / "config.json").get("num_hidden_layers", 0)


def other_study(path: str, config: dict[str, Any]) -> str:
    """A hint for a path into the world of a study of another name."""
    parts = PurePosixPath(path).parts
    if len(parts) > 3 and (parts[0], parts[2]) == ("results", "world"):
        here = PurePosixPath("results", config["study"], *parts[2:])
        return f"; the world of this study would be at {here}"
    return ""


def read_object(key: str, path: Path) -> dict[str, Any]:
    """A JSON file that holds an object."""
    try:
        with opened(key, path) as file:
            value = json.load(file)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{key}: {path} is not a JSON object")
    return value


def check_layer(layer: str | int, layers: int | None, family: str) -> None:
    """The layer lies within the model: it is the input of a decoder layer, not of the first."""
    if isinstance(layer, int) and layers is not None and not 1 <= layer < layers:
        raise InputError(
            f"activations.layer: {layer} is out of range for families.{family}, whose model has "
            f"{layers} layers: 1 to {layers - 1}, or middle"
        )


def variants(config: dict[str, Any], family: str) -> list[Path]:
    """Directories of a family's models that exist already, base first if it is one of them."""
    made = Path("results", config["study"], "models", family)
    brought = [Path(model.name) for model in given(config["families"][family]).values()]
    found = [*brought, *sorted(made.glob("*/"))]
    return [folder for folder in found if (folder / "tokenizer.json").is_file()]


def check_benchmarks(config: dict[str, Any]) -> None:
    """Every local benchmark file is there and has the columns its task reads."""
    for task, path in config["evaluation"]["files"].items():
        if not made_here(path, config):
            check_columns(f"evaluation.files.{task}", path, columns.TASKS.get(task, ()))


def check_corpus(config: dict[str, Any]) -> None:
    """Every source of the corpus is there and holds text or conversations."""
    for name, source in config["corpus"]["sources"].items():
        key = f"corpus.sources.{name}"
        path = check_source(key, source, config)
        if path:
            check_any_column(key, path, columns.CORPUS)
