"""The sections of a configuration: each key with its type, range, default and meaning.

Belongs here: one class a section, and what must hold within it.
Does not belong here: anything that computes from a value. Values reach the jobs through Snakemake's
`params`, which reruns a job when they change; these files therefore do not count in the fingerprint
of a job's code, and a new description, range or error message reruns nothing.
"""

from crosslens.config.sections.analysis import (
    FiguresConfig,
    GeneralizationConfig,
    InterventionsConfig,
    MetricsConfig,
)
from crosslens.config.sections.base import Section
from crosslens.config.sections.causal import CausalProtocolConfig
from crosslens.config.sections.crosscoder import (
    ActivationsConfig,
    BatchTopKConfig,
    CrosscoderConfig,
)
from crosslens.config.sections.data import CorpusConfig, DatasetSource, ProblemsConfig, TracesConfig
from crosslens.config.sections.evaluation import EvaluationConfig
from crosslens.config.sections.families import FamilyConfig, ModelSource
from crosslens.config.sections.posttraining import GRPOConfig, SFTConfig
from crosslens.config.sections.resources import PlanConfig, ResourceRequest
from crosslens.config.sections.synthetic import SyntheticConfig

__all__ = [
    "ActivationsConfig",
    "BatchTopKConfig",
    "CausalProtocolConfig",
    "CorpusConfig",
    "CrosscoderConfig",
    "DatasetSource",
    "EvaluationConfig",
    "FamilyConfig",
    "FiguresConfig",
    "GRPOConfig",
    "GeneralizationConfig",
    "InterventionsConfig",
    "MetricsConfig",
    "ModelSource",
    "PlanConfig",
    "ProblemsConfig",
    "ResourceRequest",
    "SFTConfig",
    "Section",
    "SyntheticConfig",
    "TracesConfig",
]
