"""Leave out tests of engines that are not installed, and check the library's signatures.

jaxtyping's import hook applies beartype to every annotated function and method of the library that
the process of the tests calls. Jobs and other programs that a test starts run unchecked. These are
not checked either:

- fields of a NamedTuple, and types that are imported for type checkers only;
- crosslens.config. It has no arrays, its values are checked by pydantic, and beartype refuses the
  type `Self` of pydantic's validators;
- kernels that numba or Triton compile (COMPILED). A checked function cannot be compiled.

The workflow's environment has no PyTorch, and its tests no tensors.
"""

import importlib.util
from pathlib import Path

ENGINES = {
    "posttraining/grpo": "verl",
    "posttraining/sft": "llamafactory",
    "posttraining/vllm": "vllm",
    "study": "snakemake",
}
collect_ignore = [name for name, module in ENGINES.items() if not importlib.util.find_spec(module)]

LIBRARY = Path(__file__).parents[1] / "crosslens"
COMPILED = {"bf16_screen", "cpu", "cpu_entries", "gpu", "selection_cpu", "selection_gpu"}


def checked_modules() -> list[str]:
    """Return the modules of the library whose signatures are checked."""
    files = [file.relative_to(LIBRARY.parent).with_suffix("") for file in LIBRARY.rglob("*.py")]
    kept = [file for file in files if "config" not in file.parts and file.name not in COMPILED]
    return [".".join(file.parts) for file in kept]


if importlib.util.find_spec("torch"):
    from jaxtyping import install_import_hook

    install_import_hook(checked_modules(), "type_checker.check")
