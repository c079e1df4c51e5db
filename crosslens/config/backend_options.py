"""What a user may pass on to a training backend as it is."""

import re
from typing import Any

from crosslens.io.errors import InputError

# The reward is the study's, in both engines. verl's old key `custom_reward_function`, which verl
# itself ignores in silence, is one of these.
FIXED = re.compile(r"(^|\.)(reward|reward_\w+|custom_reward_function)(\.|$)")
FREE = ("reward.num_workers",)


def check_grpo_options(options: dict[str, Any]) -> None:
    """Raise InputError when a backend's own key would change the reward."""
    for key in options:
        if changes_reward(key):
            raise InputError(
                f"grpo.options.{key}: the reward is fixed (crosslens.posttraining.grpo.reward). "
                "Remove the key."
            )


def changes_reward(key: str) -> bool:
    """Return whether a backend's own key would change the reward."""
    return bool(FIXED.search(key.lstrip("+"))) and key not in FREE
