"""transformers without scikit-learn, which it imports for a kind of generation unused here."""

import transformers.utils.import_utils as available

# Else a quarter of the CPU time in which a job starts goes to scikit-learn, SciPy and pandas.
available._sklearn_available = False

from transformers import AutoConfig, AutoModel  # noqa: E402

__all__ = ["AutoConfig", "AutoModel"]
