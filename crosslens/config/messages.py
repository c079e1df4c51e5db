"""Report errors in a configuration as one line: `key: problem. Fix.`

Allowed values are read from the JSON schema of the section classes, so that error messages, the
reference page and an editor's completion agree.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from crosslens.io.errors import InputError

Schema = Mapping[str, Any]

WORDS = {
    "integer": "an integer",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a section of keys",
}
TYPE_NAMES = {
    int: "an integer",
    float: "a number",
    str: "text",
    bool: "true or false",
    list: "a list",
    dict: "a section of keys",
    type(None): "nothing",
}
BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}
RENAMED = {  # old key -> new name
    "world.base.careful_share": "reliable_fraction",
    "world.base.tag_share": "source_tag_fraction",
    "problems.count": "expected_count",
    "problems.lcs_share": "lcs_fraction",
    "traces.options": "vllm_sampling",
    "traces.engine": "vllm_engine",
    "sft.options": "llamafactory_options",
    "grpo.options": "engine_options",
    "evaluation.unseen": "heldout_tasks",
    "activations.window": "shards_on_disk",
    "crosscoder.path": "kernel",
    "crosscoder.replicas": "extra_seeds",
    "generalization.threshold": "score_fraction",
    "generalization.active_rate": "min_firing_rate",
    "metrics.top": "top_features",
    "metrics.same_cosine": "match_cosine",
}


def first_fault(error: ValidationError, config: Mapping[str, Any], schema: Schema) -> str:
    """Return the error message for the first of a configuration's errors.

    Wrong names come first, as they may explain missing keys, which come second. Then come types,
    ranges, and values of one section that contradict each other.
    """
    faults = sorted(error.errors(include_url=False), key=lambda fault: rank(fault["type"], fault))
    return message(faults[0], config, schema)


def rank(kind: str, fault: Mapping[str, Any]) -> int:
    """Return the place of an error in the order of reports."""
    if kind == "extra_forbidden" or fault["loc"][-1:] == ("[key]",):
        return 0
    if kind == "missing":
        return 1
    if kind == "value_error":
        return 4
    return 2 if kind.endswith("_type") or kind == "finite_number" else 3


def message(fault: Mapping[str, Any], config: Mapping[str, Any], schema: Schema) -> str:
    """Return the message for one error that pydantic found."""
    loc, kind = fault["loc"], fault["type"]
    reason = fault.get("ctx", {}).get("error")
    if isinstance(reason, InputError):  # names its key within the section
        return ".".join(filter(None, [dotted(loc), str(reason)]))
    if kind == "extra_forbidden":
        return unknown(loc, located(loc[:-1], schema)[1].get("properties", {}))
    if loc[-1:] == ("[key]",):
        return bad_name(loc[:-1], located(loc[:-2], schema)[1])
    path, part = located(loc, schema)
    if kind == "finite_number":
        return f"{dotted(path)}: found {fault['input']}, must be a finite number."
    meaning = description(part, schema)
    if kind == "missing":
        return f"{dotted(path)}: missing, must be {allowed(part, schema)}. {meaning}"
    value = value_at(path, config)
    problem = f"found {shown(value)}, must be {allowed(part, schema)}{hint(kind, value)}"
    return f"{dotted(path)}: {problem}. {meaning}"


def located(loc: Iterable[str | int], schema: Schema) -> tuple[list[str | int], Schema]:
    """Return the keys of an error's location, and the schema of the value there.

    Pydantic's locations end with the alternatives of a type that it tried; these are left out.
    """
    path, part = [], schema
    for key in loc:
        below = child(part, key, schema)
        if below is None:
            break
        path.append(key)
        part = below
    return path, part


def child(part: Schema, key: str | int, schema: Schema) -> Schema | None:
    """Return the schema of a section's key or of a list's entries; None if there is none."""
    for option in (resolved(option, schema) for option in part.get("anyOf", [part])):
        if isinstance(key, int):
            below = option.get("items")
        else:
            others = [option.get("additionalProperties"), *patterns(option).values()]
            below = option.get("properties", {}).get(key) or next(filter(None, others), None)
        if isinstance(below, Mapping):
            return resolved(below, schema)
    return None


def patterns(part: Schema) -> Mapping[str, Schema]:
    """Return pattern -> schema, for a section whose keys are names that the user gives."""
    return part.get("patternProperties", {})


def resolved(part: Schema, schema: Schema) -> Schema:
    """Return a schema with its reference to a section filled in."""
    name = part.get("$ref", "").rpartition("/")[2]
    return {**schema["$defs"][name], **part} if name else part


def bad_name(path: tuple[str | int, ...], part: Schema) -> str:
    """Return the error message for a key that is not among the names allowed there."""
    if names := part.get("propertyNames", {}).get("enum"):
        return f"{dotted(path)}: unknown key. {suggestion(path[-1], names)}"
    return f"{dotted(path)}: a name must match {next(iter(patterns(part)), '')}. Rename it."


def unknown(path: tuple[str | int, ...], known: Iterable[str]) -> str:
    """Return the error message for a key that its section does not have."""
    if new := RENAMED.get(dotted(path)):
        return f"{dotted(path)}: this key has a new name. Rename it to {new}."
    return f"{dotted(path)}: unknown key. {suggestion(path[-1], known)}"


def suggestion(name: Any, known: Iterable[str]) -> str:
    """Return a sentence with the closest known name, or with all of them if none is close."""
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1)
    return f"Did you mean {close[0]}?" if close else f"Choose from {', '.join(known)}."


def dotted(path: Iterable[str | int]) -> str:
    """Return `["evaluation", "tasks", 0]` as `evaluation.tasks[0]`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return text.removeprefix(".")


def description(part: Schema, schema: Schema) -> str:
    """Return what a key means: its own description, or that of the section it holds."""
    options = [part, *(resolved(option, schema) for option in part.get("anyOf", []))]
    text = next((option["description"] for option in options if "description" in option), "")
    return " ".join(text.split())


def value_at(path: Iterable[str | int], config: Any) -> Any:
    """Return the value of a key of the configuration."""
    for key in path:
        config = config[key]
    return config


def shown(value: Any) -> str:
    """Return a value that was found, shortened, with its type."""
    text, kind = repr(value), TYPE_NAMES.get(type(value), type(value).__name__)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({kind})"


def allowed(part: Schema, schema: Schema) -> str:
    """Return what a key may be, in words."""
    options = [resolved(option, schema) for option in part.get("anyOf", [part])]
    return " or ".join(alternative(option) for option in options if option.get("type") != "null")


def alternative(part: Schema) -> str:
    """Return one of the types that a key may have, with its range, in words."""
    if "const" in part:
        return str(part["const"])
    if "enum" in part:
        return f"one of {', '.join(map(str, part['enum']))}"
    if "pattern" in part:
        return f"text that matches {part['pattern']}"
    kind = WORDS.get(part.get("type", ""), "a value")
    return " ".join(filter(None, [kind, interval(part), entries(part)]))


def interval(part: Schema) -> str:
    """Return the range of a number, in words."""
    if "minimum" in part and "maximum" in part:
        return f"from {part['minimum']} to {part['maximum']}"
    return " and ".join(text.format(part[key]) for key, text in BOUNDS.items() if key in part)


def entries(part: Schema) -> str:
    """Return how many entries a list or a section has, in words."""
    fewest, most = part.get("minItems", part.get("minProperties")), part.get("maxItems")
    if fewest == most:
        words = f"of {most} entries" if most else ""
    elif most is None:
        words = f"of at least {fewest} {'entry' if fewest == 1 else 'entries'}"
    else:
        words = f"of {fewest} to {most} entries"
    return f"{words} without repeats".strip() if part.get("uniqueItems") else words


def hint(kind: str, value: Any) -> str:
    """Return how to write a number that YAML reads as text, such as `1e-4`."""
    if kind.endswith("_type") and isinstance(value, str):
        for number in (int, float):
            try:
                return f" (write it as {number(value)}, without quotes)"
            except ValueError:
                continue
    return ""
