"""GPUs, memory and time of a rule's jobs."""

from pydantic import Field

from crosslens.config.sections.base import Section


class ResourceRequest(Section):
    """What one job of the rule requests."""

    gpu: int | None = Field(None, ge=0, le=1024, description="GPUs of one job.")
    mem_mb: int | None = Field(
        None,
        ge=1,
        le=10**8,
        description="Main memory of one job, in MB; where a failed job is tried again, its n-th "
        "attempt requests n times as much.",
    )
    runtime: int | None = Field(
        None, ge=1, le=10**6, description="Time limit of one job, in minutes."
    )
