"""Choose the environment of envs/ for each kind of rule, and identify its content.

Only the standard library is imported, because envs/make_environments.py imports this module before
any environment exists.
"""

import hashlib
from pathlib import Path
from typing import Any

ENVS = Path(__file__).resolve().parents[2] / "envs"

# The rules that may run on GPUs in an environment of their own; all others are the analysis's.
# `grpo.device` and the backends are keys of their own.
SFT = ("train_sft",)
GRPO = {"verl": "grpo", "trl": "analysis"}  # grpo.engine
TRACES = ("generate_traces",)
ANSWERS = ("generate_answers",)
ELSEWHERE = (*SFT, "train_grpo", *ANSWERS)


def environments(config: dict[str, Any]) -> dict[str, str]:
    """Return the environment of each kind of rule: analysis, traces, answers, sft and grpo.

    An environment's name ends in -cuda where the configuration asks for GPUs. All rules of the
    analysis share one environment. A study without a kind of rule has an entry for it all the same.
    """
    others = tuple(rule for rule in config.get("resources", {}) if rule not in ELSEWHERE)
    analysis = named("analysis", asks_for_gpus(config, others))
    grpo = config.get("grpo", {})
    return {
        "analysis": analysis,
        "traces": sampling(config, "traces", TRACES) or analysis,
        "answers": sampling(config, "evaluation", ANSWERS) or analysis,
        "sft": named("sft", asks_for_gpus(config, SFT)),
        "grpo": named(GRPO[grpo.get("engine", "verl")], grpo.get("device") == "cuda"),
    }


def sampling(config: dict[str, Any], section: str, rules: tuple[str, ...]) -> str:
    """Return vLLM's environment if a section samples by it, and "" if it does not."""
    uses_vllm = config.get(section, {}).get("backend") == "vllm"
    return named("vllm", asks_for_gpus(config, rules)) if uses_vllm else ""


def named(environment: str, cuda: bool) -> str:
    """Return the name of the CPU or CUDA version of an environment."""
    return f"{environment}-cuda" if cuda else environment


def asks_for_gpus(config: dict[str, Any], rules: tuple[str, ...]) -> bool:
    """Return whether the configuration gives a GPU to one of the rules."""
    resources = config.get("resources", {})
    return any(resources.get(rule, {}).get("gpu", 0) for rule in rules)


def description(name: str, envs: Path = ENVS) -> list[Path]:
    """Return the files that describe an environment: its YAML file and, if there is one, its lock.

    The lock, envs/locks/<name>.txt, pins every package of it for Linux on x86-64.
    """
    files = [envs / f"{name}.yaml", envs / "locks" / f"{name}.txt"]
    return [file for file in files if file.is_file()]


def digest(name: str, envs: Path = ENVS) -> str:
    """Return the SHA-256 of an environment's description."""
    content = b"".join(file.read_bytes() for file in description(name, envs))
    return hashlib.sha256(content).hexdigest()
