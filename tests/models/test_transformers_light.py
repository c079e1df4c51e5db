"""What a job imports with transformers: scikit-learn, SciPy and pandas would cost it seconds."""

import subprocess
import sys
from importlib.util import find_spec

CODE = """
import sys
from crosslens.models.transformers_light import AutoModelForCausalLM
import transformers.generation
print(*sorted({"sklearn", "scipy", "pandas"} & set(sys.modules)))
"""


def test_a_model_class_comes_without_scikit_learn() -> None:
    assert find_spec("sklearn"), "installed, so transformers would import it"
    command = [sys.executable, "-c", CODE]
    imported = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert imported.strip() == ""
