"""Write the reference of all keys, and the JSON schema for editors, from the section classes.

    python -m crosslens.config.reference

writes docs/reference/configuration.md and schemas/config.schema.json.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from crosslens.config.messages import Schema, allowed, description, resolved
from crosslens.config.study import StudyConfig

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "configuration.md"
SCHEMA = ROOT / "schemas" / "config.schema.json"
HEAD = """# Configuration

All keys of a configuration file, for users who write one. `mini.yaml` is an example with synthetic
data, `config.yaml` one with data from the hub. Rules in parentheses use the value.
`<name>` stands for a name that you choose, `[]` for the entries of a list. `make reference`
generates this page from `crosslens/config/sections`.
"""
TABLE = "\n| key | value | default | meaning |\n|---|---|---|---|"


class Row(NamedTuple):
    """One key of the reference."""

    key: str
    value: str
    default: str
    meaning: str


def render_reference() -> str:
    """Return the reference as Markdown: keys outside of sections, then a table per section."""
    schema = StudyConfig.model_json_schema()
    fields = {key: resolved(part, schema) for key, part in schema["properties"].items()}
    single = [key for key, part in fields.items() if not below(part, schema)]
    lines = [HEAD, "## Study", TABLE]
    lines += [line(row(key, fields[key], schema, key in schema["required"])) for key in single]
    for key, part in fields.items():
        if key not in single:
            required = " Required." if key in schema["required"] else ""
            lines += [
                f"\n## {key}\n",
                meaning(part, schema) + required,
                TABLE,
            ]
            lines += map(line, rows(below(part, schema), schema))
    return "\n".join(lines) + "\n"


def below(part: Schema, schema: Schema) -> dict[str, Schema]:
    """Return suffix of the key -> schema, for the sections in a value: `<name>` and `[]`."""
    schemas = {}
    for option in (resolved(option, schema) for option in part.get("anyOf", [part])):
        if "properties" in option:
            schemas[""] = option
        if "items" in option:
            schemas |= {
                f"[]{key}": value
                for key, value in below(resolved(option["items"], schema), schema).items()
            }
        named = [*option.get("patternProperties", {}).values(), option.get("additionalProperties")]
        for inner in named:
            if isinstance(inner, dict):
                inner = resolved(inner, schema)
                schemas |= {f".<name>{key}": value for key, value in below(inner, schema).items()}
    return schemas


def rows(sections: dict[str, Schema], schema: Schema, prefix: str = "") -> Iterator[Row]:
    """Yield a row for each key of sections, and for the keys of the sections in them."""
    for suffix, section in sections.items():
        start = f"{prefix}{suffix}."
        for key, part in section["properties"].items():
            part = resolved(part, schema)
            yield row(
                f"{start}{key}".removeprefix("."), part, schema, key in section.get("required", [])
            )
            yield from rows(below(part, schema), schema, f"{start}{key}".removeprefix("."))


def row(key: str, part: Schema, schema: Schema, required: bool) -> Row:
    """Return the row of one key."""
    if required:
        default = "required"
    elif below(part, schema) or part.get("default") is None:
        default = ""
    else:
        default = f"`{json.dumps(part['default'])}`"
    value = re.sub(r"(\^\S+\$)", r"`\1`", allowed(part, schema))  # a pattern is code
    return Row(f"`{key}`", value, default, meaning(part, schema))


def meaning(part: Schema, schema: Schema) -> str:
    """Return the description of a key as Markdown."""
    return description(part, schema).replace("<", r"\<")


def line(cells: Row) -> str:
    """Return one line of a table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def json_schema() -> str:
    """Return the JSON schema of a configuration file, for editors."""
    schema = StudyConfig.model_json_schema()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(head | without_titles(schema), indent=1) + "\n"


def without_titles(part: Any) -> Any:
    """Return a schema without the titles that repeat its keys."""
    if isinstance(part, dict):
        return {
            key: without_titles(value)
            for key, value in part.items()
            if not (key == "title" and isinstance(value, str))
        }
    return list(map(without_titles, part)) if isinstance(part, list) else part


if __name__ == "__main__":
    for file, text in ((PAGE, render_reference()), (SCHEMA, json_schema())):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        print(file.relative_to(ROOT))
