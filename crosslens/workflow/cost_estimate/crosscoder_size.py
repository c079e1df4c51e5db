"""Count the parameters of a crosscoder."""

from crosslens.config import crosscoder_design
from crosslens.config.sections import CrosscoderConfig, FamilyConfig
from crosslens.config.study import StudyConfig
from crosslens.workflow.cost_estimate.model_sizes import Size


def crosscoder_slots(
    directories: list[str], family: FamilyConfig, settings: CrosscoderConfig
) -> list[int]:
    """Return the number of decoders of each crosscoder: one per model, or one in total."""
    names = map(crosscoder_design.base_name, directories)
    designs = [crosscoder_design.design(name, family, settings) for name in names]
    return [1 if design.inputs == "differences" else len(design.models) for design in designs]


def weights(study: StudyConfig, size: Size, models: int) -> float:
    """Return the number of parameters of a crosscoder: W_enc and W_dec."""
    return 2 * models * size.d_model * study.crosscoder.d_sparse
