"""All checks before the first job; a fault is an InputError of one line.

Cheap, and only local files are read. A file that rules/world.smk will make is judged by the `world`
section instead. Runs where Snakemake runs: no torch, no transformers.
"""

import re
from pathlib import Path
from typing import Any

from crosslens.config import benchmark_columns
from crosslens.config.input_files import (
    check_any_column,
    check_columns,
    count_lines,
    existing,
    read_object,
)
from crosslens.config.locations import made_here, named_paths, other_study, tasks, variants
from crosslens.config.messages import suggestion
from crosslens.config.model_compatibility import check_descent, with_common_names
from crosslens.config.study import StudyConfig, read_study
from crosslens.config.study_design import (
    FACTS_FILE,
    N_CHECKPOINTS,
    SYNTHETIC_POSITIONS,
    given,
    trained,
    trains,
)
from crosslens.config.workflow_checks import check_names, check_resources
from crosslens.io.errors import InputError

WEIGHTS = "*.safetensors"  # pytorch_model.bin is a pickle, which may run code
MODELS = ("world/base", "world/teacher")
HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")


def preflight(config: dict[str, Any], scripts: Path, gpus: int | None = None) -> StudyConfig:
    """Check the configuration, filling in its defaults, and every local file it names.

    `scripts` holds one file for each rule. `gpus` is the limit given by `--resources gpu=N`, None
    where there is none. Paths are relative to the working directory. Raises InputError for the
    first fault.
    """
    study = read_study(config)
    rules = {path.stem for path in scripts.glob("*.py")}
    check_names(study, rules)
    check_resources(study, rules, gpus)
    check_world(config)
    check_problems(config)
    if trains(config):
        traces = config["traces"]
        check_model("traces.teacher", traces["teacher"], traces.get("revision"), config)
    for family in config["families"]:
        check_family(family, config)
    check_benchmarks(config)
    check_corpus(config)
    return study


def check_world(config: dict[str, Any]) -> None:
    """Paths below results/<study>/world/ are those that the world's rules make, and only those."""
    corpora = [f"world/corpora/{name}.jsonl" for name in ("reasoning", "general")]
    sets = [
        f"world/benchmarks/{task}.jsonl"
        for task in tasks(config)
        if task in benchmark_columns.TASKS
    ]
    products = ["world/problems.jsonl", *MODELS, *corpora, *sets]
    known = [f"results/{config['study']}/{product}" for product in products]
    for key, path in named_paths(config):
        if not made_here(path, config):
            continue
        if "world" not in config:
            raise InputError(
                f"{key}: {path} would be made by the section world, which is missing. Add the "
                "section, or give another path."
            )
        if path not in known:
            raise InputError(f"{key}: no rule makes {path}. {suggestion(path, known)}")


def check_family(family: str, config: dict[str, Any]) -> None:
    """The models that a family brings are complete and can be compared."""
    for variant, model in given(config["families"][family]).items():
        key = f"families.{family}.{variant}"
        if fields := check_model(key, model.name, model.revision, config):
            check_layer(config["activations"]["layer"], fields, family)
            check_positions(config["corpus"]["sequence_length"], fields, key)
            trained_from = variant == "base" and trained(config["families"][family])
            if trained_from or config["evaluation"]["math"]:
                check_chat_template(key, Path(model.name), config)
    if found := variants(config, family):
        check_descent(family, found)


def check_model(
    key: str, path: str, revision: str | None, config: dict[str, Any]
) -> dict[str, Any] | None:
    """Raise InputError unless a model directory is complete; the fields of its config.json.

    None for a model of the hub, which is not asked before the job that downloads it.
    """
    if revision:
        return check_hub_name(key, path)
    if made_here(path, config):
        return config["world"]["model"] | {"max_position_embeddings": SYNTHETIC_POSITIONS}
    folder = Path(path)
    if not folder.is_dir():
        hint = other_study(path, config)
        if HUB_NAME.match(path) and not hint:
            hint = f"If it is a model of the hub, add its revision (or main) next to {key}."
        raise InputError(
            f"{key}: there is no model directory {path}. {hint or 'Correct the path.'}"
        )
    if not any(folder.glob(WEIGHTS)):
        raise InputError(f"{key}: {path} has no weights ({WEIGHTS}). Add them.")
    check_facts(key, folder, config)
    return with_common_names(read_object(key, folder / "config.json"))


def check_chat_template(key: str, folder: Path, config: dict[str, Any]) -> None:
    """Raise InputError for a model without a chat template: math sets and training need one."""
    settings = folder / "tokenizer_config.json"
    if made_here(str(folder), config) or any(folder.glob("chat_template*")):
        return
    if not settings.is_file() or not read_object(key, settings).get("chat_template"):
        raise InputError(
            f"{key}: the tokenizer of {folder} has no chat template, by which math sets are asked "
            "and models are trained. Add chat_template.jinja, or leave out evaluation.math."
        )


def check_facts(key: str, folder: Path, config: dict[str, Any]) -> None:
    """Raise InputError for a pretrained synthetic model that has read another world's facts."""
    if "world" not in config or not (folder / FACTS_FILE).is_file():
        return
    asked = {"seed": config["seed"], "max_operations": config["world"]["max_operations"]}
    if (known := read_object(key, folder / FACTS_FILE)) != asked:
        name = "base" if key.startswith("families.") else "teacher"
        raise InputError(
            f"{key}: {folder} has read the facts of {known}, and the study asks for {asked}. "
            f"Give results/{config['study']}/world/{name}, which is pretrained for this study."
        )


def check_hub_name(key: str, name: str) -> None:
    """What has a revision is named as on the hub."""
    if not HUB_NAME.match(name):
        raise InputError(
            f"{key}: {name} has a revision, but is not a name on the hub (organization/name). "
            "Correct it, or remove the revision of a local path."
        )


def check_layer(layer: str | int, fields: dict[str, Any], family: str) -> None:
    """The layer lies within the model: it is the input of a decoder layer, not of the first."""
    layers = fields.get("num_hidden_layers")
    if layers is None:
        raise InputError(
            f"families.{family}: a model has no num_hidden_layers in its config.json, so it is no "
            "model of text alone. Give its text model."
        )
    if isinstance(layer, int) and not 1 <= layer < layers:
        raise InputError(
            f"activations.layer: {layer} is out of range for families.{family}, whose model has "
            f"{layers} layers. Choose 1 to {layers - 1}, or middle."
        )


def check_positions(length: int, fields: dict[str, Any], key: str) -> None:
    """The corpus's sequences are no longer than those the model is made for.

    Rotary positions go on beyond them without an error, only the activations are off. Scaled ones
    (`rope_scaling`, or `rope_parameters` of transformers 5) reach `factor` times as far as the
    original ones.
    """
    most = fields.get("max_position_embeddings") or length
    scaling = fields.get("rope_scaling") or fields.get("rope_parameters") or {}
    original = scaling.get("original_max_position_embeddings") or most
    if length > max(most, original * (scaling.get("factor") or 1)):
        raise InputError(
            f"corpus.sequence_length: {length} tokens are more than the positions of the model of "
            f"{key} (max_position_embeddings: {most}). Lower it."
        )


def check_problems(config: dict[str, Any]) -> None:
    """The sources of problems have their columns, and fill one batch for each checkpoint."""
    if not trains(config):
        return
    size, counts = config["grpo"]["batch_size"], []
    for name, source in config["problems"]["sources"].items():
        key = f"problems.sources.{name}"
        if path := check_source(key, source, config):
            counts.append((f"{key}: {path}", count_lines(key, path, N_CHECKPOINTS * size)))
            for names in benchmark_columns.GIVEN_PROBLEMS:
                check_any_column(key, path, names)
        elif "revision" not in source and made_here(source["dataset"], config):
            counts.append(("world.problems", config["world"]["problems"]))
        else:  # unknown before the job that reads it
            counts.append(("problems.count", config["problems"]["count"][0]))
    for name, source in config["problems"]["exclude"].items():
        check_source(f"problems.exclude.{name}", source, config)
    check_steps(" and ".join(key for key, _ in counts), sum(count for _, count in counts), size)
    if [key for key, _ in counts] == ["world.problems"]:
        check_world_problems(config["world"]["problems"], config["problems"]["count"])


def check_world_problems(made: int, promised: list[int]) -> None:
    """A list that is the world's alone is as long as promised: all of its problems are kept."""
    least, most = promised
    if not least <= made <= most:
        raise InputError(
            f"world.problems: {made} problems are made, but problems.count expects {least} to "
            f"{most}. Correct one of them."
        )


def check_steps(key: str, count: int, size: int) -> None:
    """So many problems are enough for one step of `size` problems for each checkpoint."""
    if count < N_CHECKPOINTS * size:
        raise InputError(
            f"{key}: number of problems is {count}, too few for {N_CHECKPOINTS} steps of "
            f"grpo.batch_size: {size}, one for each checkpoint. Give at least "
            f"{N_CHECKPOINTS * size}."
        )


def check_source(key: str, source: dict[str, str], config: dict[str, Any]) -> str | None:
    """A data set is named as one of the hub is, or is there; a JSON-lines file's path, else None.

    None too where rules/world.smk makes the file.
    """
    path = source["dataset"]
    if "revision" in source:
        check_hub_name(key, path)
    elif not made_here(path, config):
        if Path(path).is_dir():
            return None
        return str(existing(key, path)) if path.endswith(".jsonl") else None
    return None


def check_benchmarks(config: dict[str, Any]) -> None:
    """Every local benchmark file is there and has the columns its task reads."""
    for task, path in config["evaluation"]["files"].items():
        if not made_here(path, config):
            check_columns(f"evaluation.files.{task}", path, benchmark_columns.TASKS.get(task, ()))


def check_corpus(config: dict[str, Any]) -> None:
    """Every source of the corpus is there and holds text or conversations."""
    for name, source in config["corpus"]["sources"].items():
        key = f"corpus.sources.{name}"
        path = check_source(key, source, config)
        if path:
            check_any_column(key, path, benchmark_columns.CORPUS)
