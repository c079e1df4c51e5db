"""Leave out the tests of engines that are not in the environment in which pytest runs."""

import importlib.util

ENGINES = {
    "posttraining/grpo": "verl",
    "posttraining/sft": "llamafactory",
    "posttraining/vllm": "vllm",
    "study": "snakemake",
}
collect_ignore = [name for name, module in ENGINES.items() if not importlib.util.find_spec(module)]
