"""Shared by all rules: the checked configuration, what its families are, code and environments.

INPUTS: the configuration; envs/*.yaml.
OUTPUTS: none; names used by the other rule files.
"""

import gc
import os
import re
import sys
from pathlib import Path

# Thousands of jobs are millions of objects that stay: looking through them all takes a tenth of a dry run.
gc.set_threshold(100_000, 50, 50)

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT))

from crosslens.config import benchmark_columns, study_design
from crosslens.workflow.slurm import check_queued, comment, failures
from crosslens.config.study_design import FINAL
from crosslens.workflow.earlier_runs import wait_for_earlier
from crosslens.io.errors import InputError
from crosslens.workflow.environments import digest, environments
from crosslens.workflow.code_hash import fingerprint
from crosslens.config.yaml_files import check_repeated_keys
from crosslens.workflow.gpu_locks import check_machine
from crosslens.config.study_design import settings_of
from crosslens.config.locations import local_sources
from crosslens.config.preflight import preflight

# Scripts import the library from here; with --sdm env-modules, envs/module.bash stands in for a module
# system, over the virtual environments of `make environments`. Without these a machine's own is used.
# A job ends when the process of this number does (crosslens/workflow/processes.py).
os.environ.update(PYTHONPATH=str(ROOT), CROSSLENS_WORKFLOW=str(os.getpid()))
MODULES = str(ROOT / "envs" / "module.bash")
os.environ.setdefault("BASH_ENV", MODULES)
# PyTorch's idle threads would spin on the cores that the crosscoder's own kernels compute on; and glibc
# would give the memory of each large tensor back to the kernel, a tenth of a small model's training.
for name, value in {
    "OMP_WAIT_POLICY": "passive",
    "MALLOC_MMAP_THRESHOLD_": 32 * 2**20,
    "MALLOC_TRIM_THRESHOLD_": 256 * 2**20,
}.items():
    os.environ.setdefault(name, str(value))
# A container that sets it would have every job compile the packages that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
if (ROOT / ".venvs").is_dir():
    os.environ.update(BASH_ENV=MODULES)

# Jobs read this file again, with their own share of the machine as the limit: only the first counts.
limit = workflow.global_resources.get("gpu") if workflow.is_main_process else None

try:
    for file in workflow.configfiles:
        check_repeated_keys(Path(file))
    preflight(config, ROOT / "scripts", getattr(limit, "value", limit))
except InputError as error:
    sys.exit(f"Error: {error}")


onstart:
    needed = list(workflow.dag.needrun_jobs())
    try:
        # Jobs sent elsewhere find their GPUs there; those that run here would wait for what is not there.
        if workflow.local_exec:
            wait_for_earlier(Path.cwd())
            check_machine(
                {job.rule.name: job.resources.get("gpu", 0) for job in needed},
                getattr(limit, "value", limit),
            )
        if workflow.executor_plugin.name == "slurm":
            check_queued(
                [comment(job.name, job.wildcards) for job in needed],
                Path(workflow.workdir_init),
            )
    except InputError as error:
        sys.exit(f"Error: {error}")


onerror:
    if workflow.executor_plugin.name == "slurm":
        said = "".join(Path(file).read_text(errors="replace") for file in log)
        if failed := failures(said):
            print("Jobs that failed:", *failed, sep="\n  ", file=sys.stderr)


CHECKPOINT_NUMBERS = range(1, study_design.N_CHECKPOINTS + 1)  # fifths of the epoch
FAMILIES = list(config["families"])
MATH = list(config["evaluation"]["math"])
TASKS = config["evaluation"]["tasks"]
UNSEEN = config["evaluation"]["unseen"]
OF_WORLD = [
    task for task in [*TASKS, *UNSEEN, *MATH] if task in benchmark_columns.TASKS
]
NEEDS = {}  # what every rule asks for, which `plan` adds up
REPLICAS = config["crosscoder"]["replicas"]
# Absent where every family brings its models.
PROBLEMS = config.get("problems", {"sources": {}, "exclude": {}})
TRACES = config.get("traces", {"teacher": [], "shards": 0})
LABELS = {family: config["families"][family]["label"] for family in FAMILIES}
# Training curves, and the paradigm whose they are.
CURVES = {"sft-loss": "sft", "grpo-curves": "rl", "crosscoder-training": None}
# Modules that training backends import in processes of their own: a change reruns training too.
SFT_PROCESSES = ["crosslens/posttraining/sft/entrypoint.py"]
GRPO_PROCESSES = [
    f"crosslens/posttraining/grpo/{name}.py"
    for name in ["agent_loop", "cpu_platform", "replay"]
]
ENVIRONMENTS = environments(
    config
)  # by kind of rule; those with GPUs where it asks for GPUs


wildcard_constraints:
    study=re.escape(config["study"]),
    family="|".join(map(re.escape, FAMILIES)),
    variant="base|(sft|rl)-[1-5]",
    shard=r"\d+|heldout",
    crosscoder="(sft|rl)-[1-5]|trio",
    replica=r"\d+",
    target="base|rl-5",
    part=r"\d+",
    curves="|".join(CURVES),


def code(*files):
    """Hash of the library code that scripts and modules reach: a change of code, not of a comment, reruns.

    A function, so that a job which runs elsewhere reads the library for itself only.
    """
    return lambda w: [fingerprint(ROOT / file, ROOT) for file in files]


def module(kind):
    """Name of the environment module of a kind of rule: an edit of its YAML file or lock changes it, and reruns."""
    name = ENVIRONMENTS[kind]
    return f"{name}/{digest(name)[:12]}"


def need(rule, resource, default):
    """A rule's share of the machine, from `resources:` of the configuration.

    Memory is a guess and grows with every attempt. Time does not: what is long resumes.
    """
    value = config.get("resources", {}).get(rule, {}).get(resource, default)
    NEEDS.setdefault(rule, {})[resource] = value
    return (lambda w, attempt: attempt * value) if resource == "mem_mb" else value


def gpus(rule):
    """GPUs that one job of a rule takes."""
    return need(rule, "gpu", 0)


def trained(paradigm):
    """Pattern of the families that a paradigm trains; it matches none where all bring their own."""
    return (
        "|".join(
            re.escape(family)
            for family in FAMILIES
            if paradigm in study_design.trained(config["families"][family])
        )
        or r"\s"
    )


def brought():
    """Pattern of the variants that a family brings, each behind the family in the path."""
    return "|".join(
        rf"(?<=/{re.escape(family)}/)({'|'.join(study_design.given(entry))})"
        for family, entry in config["families"].items()
    )


def part_of_world(*keys: str) -> dict | None:
    """Some keys of the `world` section, so that a change of the others reruns nothing."""
    return {key: config["world"][key] for key in keys} if "world" in config else None
