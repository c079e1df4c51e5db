"""A family's own settings over those of the study."""

from typing import Any


def settings_of(config: dict[str, Any], section: str, family: str) -> dict[str, Any]:
    """The section `sft` or `grpo` for one family: its overrides over the study's settings."""
    own = config["families"][family]["overrides"].get(section, {})
    shared = config[section]
    merged = {**shared, **own}
    if "options" in own:
        merged["options"] = {**shared["options"], **own["options"]}
    return merged
