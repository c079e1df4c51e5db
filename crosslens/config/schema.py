"""The configuration against its schema: defaults filled in, and the first fault in one line.

Runs where Snakemake runs: nothing but the standard library, PyYAML and jsonschema.
"""

import difflib
import math
from collections.abc import Iterable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError

from crosslens.io.errors import InputError

WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a section of keys",
    "null": "nothing",
}
KINDS = {
    int: WORDS["integer"],
    float: WORDS["number"],
    str: WORDS["string"],
    bool: WORDS["boolean"],
    list: WORDS["array"],
    dict: WORDS["object"],
    type(None): WORDS["null"],
}
BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
    "minProperties": "at least {} entries",
    "minLength": "at least {} characters",
}


def validate_config(config: dict, schema: dict) -> None:
    """Fill in the schema's defaults, in place, then raise InputError for the first fault.

    The message names the key, what was found and what is allowed.
    """
    check_finite(config, [])
    fill(config, schema, schema)
    faults = sorted(
        Draft202012Validator(schema).iter_errors(config),
        key=lambda fault: (rank(fault), list(map(str, fault.absolute_path))),
    )
    if faults:
        raise InputError(message(faults[0], schema))


def check_finite(value: Any, path: list) -> None:
    """Raise InputError for a number that is none: no bound would refuse it."""
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{dotted(path)}: found {value}, must be a finite number")
    if isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            check_finite(below, [*path, key])


def check_twice(file: Path) -> None:
    """Raise InputError for a key that a YAML file gives twice: the first would be lost unseen.

    A file that is no YAML is left to Snakemake, which says so.
    """
    with suppress(yaml.YAMLError):
        waiting = [([], yaml.compose(file.read_text(), yaml.SafeLoader))]
        for path, node in waiting:
            if isinstance(node, yaml.MappingNode):
                names = [key.value for key, _ in node.value]
                for number, name in enumerate(names):
                    if name in names[:number]:
                        line = node.value[number][0].start_mark.line + 1
                        where = f"{file.name}, line {line}"
                        raise InputError(f"{dotted([*path, name])}: given twice, again at {where}")
                waiting += [([*path, key.value], below) for key, below in node.value]


def rank(fault: ValidationError) -> int:
    """Order of faults: a wrong name explains what is missing, and both what does not fit."""
    if fault.validator == "additionalProperties" or "propertyNames" in fault.absolute_schema_path:
        return 0
    return {"required": 1, "type": 2}.get(fault.validator, 3)


def fill(value: Any, part: dict, schema: dict) -> None:
    """Add the defaults of absent keys to a section and to the sections in it."""
    if not isinstance(value, dict):
        return
    for key, below in part.get("properties", {}).items():
        if key not in value and "default" in below:
            value[key] = deepcopy(below["default"])
    for key in value:
        fill(value[key], child(part, key, schema), schema)


def child(part: dict, key: str | int, schema: dict) -> dict:
    """The schema of one key of a section or one entry of a list, references resolved."""
    if isinstance(key, int):
        below = part.get("items", {})
    else:
        below = part.get("properties", {}).get(key, part.get("additionalProperties")) or {}
    name = below.get("$ref", "").rpartition("/")[2]
    return {**schema["$defs"][name], **below} if name else below


def message(fault: ValidationError, schema: dict) -> str:
    """One line for a fault."""
    path, part = list(fault.absolute_path), schema
    for key in path:
        part = child(part, key, schema)
    if fault.validator == "additionalProperties":
        return unknown(path, fault.instance, part["properties"])
    if fault.validator == "required":
        key = next(key for key in part["required"] if key not in fault.instance)
        return f"{dotted([*path, key])}: missing; {child(part, key, schema)['description']}"
    if "propertyNames" in fault.absolute_schema_path:
        names = part["propertyNames"]
        return f"{dotted([*path, fault.instance])}: a name must match {names['pattern']}"
    found = f"found {shown(fault.instance)}, must be {allowed(part)}"
    return f"{dotted(path)}: {found}{hint(fault)}; {part['description']}"


def unknown(path: list, section: dict, known: dict) -> str:
    """One line for a key that the schema does not have."""
    key = next(key for key in section if key not in known)
    return f"{dotted([*path, key])}: unknown key{suggestion(key, known)}"


def suggestion(name: Any, known: Iterable[str]) -> str:
    """The known name that comes closest, or else all of them."""
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"


def dotted(path: list) -> str:
    """`["evaluation", "tasks", 0]` as `evaluation.tasks[0]`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return text.removeprefix(".")


def shown(value: Any) -> str:
    """A value found in the configuration, in short and with its type."""
    text, kind = repr(value), KINDS.get(type(value), type(value).__name__)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({kind})"


def allowed(part: dict) -> str:
    """What the schema allows for one key, in words."""
    if "enum" in part:
        return f"one of {', '.join(map(str, part['enum']))}"
    types = part["type"] if isinstance(part["type"], list) else [part["type"]]
    words = [WORDS[kind] for kind in types]
    if "pattern" in part:
        words[types.index("string")] = f"text matching {part['pattern']}"
    bounds = [text.format(part[key]) for key, text in BOUNDS.items() if key in part]
    if part.get("uniqueItems"):
        bounds.append("none of them twice")
    return ", ".join([" or ".join(words), *[" and ".join(bounds)] * bool(bounds)])


def hint(fault: ValidationError) -> str:
    """YAML reads `1e-4` as text: say how to write it."""
    if fault.validator == "type" and isinstance(fault.instance, str):
        for kind in (int, float):
            try:
                return f" (write it as {kind(fault.instance)}, without quotes)"
            except ValueError:
                continue
    return ""
