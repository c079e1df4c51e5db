"""Leave out tests of engines that are not installed, and check the library's signatures.

jaxtyping's import hook applies beartype to every annotated function and method of the packages
below that the process of the tests calls. Jobs and other programs that a test starts run unchecked.
Not checked are fields of a NamedTuple, and types that are imported for type checkers only. The
workflow's environment has no PyTorch, and its tests no tensors.
"""

import importlib.util

ENGINES = {
    "posttraining/grpo": "verl",
    "posttraining/sft": "llamafactory",
    "posttraining/vllm": "vllm",
    "study": "snakemake",
}
collect_ignore = [name for name, module in ENGINES.items() if not importlib.util.find_spec(module)]

CHECKED = ("crosslens.activations", "crosslens.analysis")

if importlib.util.find_spec("torch"):
    from jaxtyping import install_import_hook

    install_import_hook(CHECKED, "type_checker.check")
