"""Import transformers without scikit-learn, which it needs only for assisted generation."""

import transformers.utils

# Importing scikit-learn, SciPy and pandas takes a quarter of the CPU time in which a job starts.
transformers.utils.is_sklearn_available = lambda: False

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM  # noqa: E402

__all__ = ["AutoConfig", "AutoModel", "AutoModelForCausalLM"]
