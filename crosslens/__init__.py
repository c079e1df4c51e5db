"""Compare a base language model with its SFT- and RL-tuned descendants, feature by feature.

    from crosslens import FinishedStudy, intervene

What `__all__` names is the public API. Each name is imported from its module when it is first used,
so that importing the package is immediate and needs no PyTorch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

MODULES = {
    "Context": "crosslens.analysis.contexts",
    "Crosscoder": "crosslens.crosscoder.model",
    "Dose": "crosslens.analysis.edits",
    "Editor": "crosslens.analysis.edits",
    "FinishedStudy": "crosslens.analysis.finished_study",
    "InputError": "crosslens.io.errors",
    "ShardReader": "crosslens.activations.shard_reader",
    "encode_rows": "crosslens.analysis.contexts",
    "features_of": "crosslens.analysis.feature_scores",
    "intervene": "crosslens.analysis.interventions",
    "l1_norms": "crosslens.analysis.specificity",
    "load_network": "crosslens.models.loading",
    "load_tokenizer": "crosslens.models.tokenizer",
    "load_truncated": "crosslens.activations.extract",
    "mas": "crosslens.analysis.specificity",
    "nrn": "crosslens.analysis.specificity",
    "residual_stream": "crosslens.activations.extract",
    "sample": "crosslens.models.sampling",
    "strongest_contexts": "crosslens.analysis.contexts",
    "top_features": "crosslens.analysis.specificity",
}
__all__ = sorted(MODULES)


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(MODULES[name]), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return [*__all__, "__version__"]
