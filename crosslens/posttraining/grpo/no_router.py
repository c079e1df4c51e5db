"""Replace verl's router of requests, which starts a process that imports all of verl."""

from typing import Any


class NoRouter:
    """An actor that gets no requests, because the trainer's process samples (batch_rollout)."""

    def __init__(self, servers: dict[str, Any], settings: dict[str, Any]) -> None:
        pass
