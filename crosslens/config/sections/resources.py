"""GPUs, memory and time of a rule's jobs, and the card that `plan` assumes."""

from typing import Literal

from pydantic import Field

from crosslens.config.sections.base import Section


class ResourceRequest(Section):
    """Resource request of one job of the rule."""

    gpu: int | None = Field(None, ge=0, le=1024, description="GPUs of one job.")
    mem_mb: int | None = Field(
        None,
        ge=1,
        le=10**8,
        description="Main memory of one job, in MB; if a failed job is retried, its n-th run "
        "requests n times as much.",
    )
    runtime: int | None = Field(
        None, ge=1, le=10**6, description="Time limit of one job, in minutes."
    )


class PlanConfig(Section):
    """What `plan` assumes of the machine; no job depends on it."""

    gpu: Literal["h200", "h100-80", "a100-80", "rtx4090"] = Field(
        "h200",
        description="GPU whose speed and memory `plan` assumes; its data sheet's numbers are in "
        "crosslens/workflow/cost_estimate/rates.py.",
    )
