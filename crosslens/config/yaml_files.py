"""YAML files as the user wrote them."""

from contextlib import suppress
from pathlib import Path

import yaml

from crosslens.config.messages import dotted
from crosslens.io.errors import InputError


def check_repeated_keys(file: Path) -> None:
    """Raise InputError for a key that a section has twice: YAML silently drops the first.

    A file that is not YAML is left to Snakemake, which reports it.
    """
    with suppress(yaml.YAMLError):
        waiting: list[tuple[list[str], yaml.Node | None]] = [
            ([], yaml.compose(file.read_text(), yaml.SafeLoader))
        ]
        for path, node in waiting:
            if isinstance(node, yaml.MappingNode):
                names = [key.value for key, _ in node.value]
                for number, name in enumerate(names):
                    if name in names[:number]:
                        where = f"{file.name}, line {node.value[number][0].start_mark.line + 1}"
                        raise InputError(
                            f"{dotted([*path, name])}: appears again in {where}. Remove one."
                        )
                waiting += [([*path, key.value], below) for key, below in node.value]
