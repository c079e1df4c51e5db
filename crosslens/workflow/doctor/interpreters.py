"""Check a study's environments: whether each starts, and which GPUs its PyTorch finds."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from crosslens.config.study import StudyConfig
from crosslens.config.study_design import trained, trains
from crosslens.config.workflow_checks import GPU_RULES
from crosslens.workflow.doctor.finding import Finding, error, ok, warning
from crosslens.workflow.doctor.machine import Requests
from crosslens.workflow.environments import ANSWERS, ELSEWHERE, SFT, TRACES, digest

PROBE = "crosslens.workflow.doctor.torch_probe"
LOAD = 'module load "$0" && exec python -m "$1"'
SECONDS = 120  # until an environment counts as one that does not start

Start = Callable[[str, str], list[str]]  # environment, Python module -> command


def start_with_modules(environment: str, module: str) -> list[str]:
    """Return the command that runs a Python module in an environment, as `--sdm env-modules`."""
    name = f"{environment}/{digest(environment)[:12]}"
    return ["bash", "-c", LOAD, name, module]


def start_with_conda(workflow: Any, root: Path) -> Start:
    """Return a function that gives this command under `--sdm conda`."""
    from snakemake.deployment.conda import Env

    def start(environment: str, module: str) -> list[str]:
        env = Env(workflow, env_file=str(root / "envs" / f"{environment}.yaml"))
        return [f"{env.address}/bin/python", "-m", module]

    return start


def start_here(environment: str, module: str) -> list[str]:
    """Return the command that runs a Python module in Snakemake's own environment."""
    return [sys.executable, "-m", module]


def rules_by_environment(
    study: StudyConfig, names: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Return the rules that may use GPUs of each environment that the study uses.

    `names` are those of the environments by kind of rule.
    """
    analysis = tuple(rule for rule in GPU_RULES if rule not in (*ELSEWHERE, *TRACES))
    rules: dict[str, tuple[str, ...]] = {names["analysis"]: analysis}
    paradigms = {p for family in study.families.values() for p in trained(family)}
    if trains(study.families):
        rules[names["traces"]] = rules.get(names["traces"], ()) + TRACES
    if study.evaluation.backend == "vllm" and study.evaluation.math:
        rules[names["answers"]] = rules.get(names["answers"], ()) + ANSWERS
    if "sft" in paradigms:
        rules[names["sft"]] = SFT
    if "rl" in paradigms:
        rules[names["grpo"]] = rules.get(names["grpo"], ()) + ("train_grpo",)
    return rules


def run(command: list[str], text: str = "") -> dict[str, Any]:
    """Run a module that prints JSON; return the JSON, or why it failed under the key `error`."""
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except FileNotFoundError:
        return {"error": f"{command[0]} is missing. Run snakemake with --conda-create-envs-only."}
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {SECONDS} s; the file system may be slow. Try again."}
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        return {"error": said[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def environment(
    name: str, state: Mapping[str, Any], needed: int, driver: str | None, *, cluster: bool
) -> Finding:
    """Judge what a probe has found in an environment whose jobs request up to `needed` GPUs.

    `driver` is the version of NVIDIA's driver, or None. On a cluster, the machine that Snakemake
    runs on needs no GPU.
    """
    subject = f"environment {name}"
    if reason := state.get("error"):
        return error(subject, reason)
    text = f"Python {state['python']}, torch {state['torch']}"
    if not needed:
        return ok(subject, f"{text}; no GPU is requested")
    if state["cuda"] is None:
        return error(
            subject, f"{text} is a CPU build. Install PyTorch for CUDA (docs/environments.md)."
        )
    if not state["headers"]:
        return error(subject, f"{text}; Python.h is missing, which Triton needs. Install it.")
    if problem := gpu_problem(state, needed, driver):
        return (warning if cluster else error)(subject, f"{text}; {problem}")
    names = ", ".join(sorted({gpu["name"] for gpu in state["gpus"]}))
    return ok(subject, f"{text} sees {len(state['gpus'])} GPUs ({names})")


def gpu_problem(state: Mapping[str, Any], needed: int, driver: str | None) -> str:
    """Return why PyTorch cannot use as many GPUs as needed; "" if it can."""
    gpus, wheel = state["gpus"], f"its wheel is for CUDA {state['cuda']}"
    if not gpus and driver is None:
        return f"{wheel}, and this machine has no NVIDIA driver. Run doctor on a GPU node."
    if not gpus:
        said = f": {state['warning']}" if state["warning"] else ""
        return (
            f"{wheel}, and it finds no GPU with driver {driver}{said}. Update the driver "
            "(CUDA 13 needs 580), or install a PyTorch for an older CUDA."
        )
    if len(gpus) < needed:
        return f"it sees {len(gpus)} GPUs, and a job requests {needed}. Lower `gpu` in resources."
    foreign = {gpu["capability"] for gpu in gpus} - set(state["compiled_for"])
    if foreign and not runs_on(foreign, state["compiled_for"]):
        return f"{wheel} has no kernels for {', '.join(sorted(foreign))}. Use another PyTorch."
    return ""


def runs_on(capabilities: set[str], compiled_for: list[str]) -> bool:
    """Return whether PyTorch has code for the major version of every GPU's capability."""
    majors = {name.rpartition("_")[2][:-1] for name in compiled_for}
    return all(name.rpartition("_")[2][:-1] in majors for name in capabilities)


def most_gpus(rules: tuple[str, ...], requests: Requests) -> int:
    """Return the most GPUs that a job of some rules requests."""
    return max((requests.get(rule, {}).get("gpu", 0) for rule in rules), default=0)
