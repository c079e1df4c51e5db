"""GPUs, memory and time of a rule's jobs."""

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
