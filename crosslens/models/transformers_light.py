"""Import transformers without scikit-learn, which it needs only for assisted generation."""

import transformers.utils.import_utils as available

# Importing scikit-learn, SciPy and pandas takes a quarter of the CPU time in which a job starts.
available._sklearn_available = False

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM  # noqa: E402

__all__ = ["AutoConfig", "AutoModel", "AutoModelForCausalLM"]
