"""Names shared by all rules: the checked configuration and what follows from it.

INPUTS: the configuration; envs/*.yaml and their locks.
OUTPUTS: none; names used by the other rule files.
"""

import re
import sys
from pathlib import Path

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT))

from crosslens.config import benchmark_columns, crosscoder_design, study_design
from crosslens.config.crosscoder_design import TRIO
from crosslens.config.figure_list import CURVES, DRAWINGS, FIGURES, TABLES
from crosslens.config.locations import benchmark_files, downloads, local_sources
from crosslens.config.study_design import FINAL, N_CHECKPOINTS
from crosslens.workflow import hooks
from crosslens.workflow.code_hash import fingerprint
from crosslens.workflow.environments import digest, environments

hooks.set_environment(ROOT)
STUDY = hooks.check_configuration(workflow, config, ROOT)

RESULTS = f"results/{config['study']}"
FAMILIES = STUDY.families
LABELS = {family: entry.label for family, entry in FAMILIES.items()}
CHECKPOINTS = range(1, N_CHECKPOINTS + 1)
CROSSCODER = STUDY.crosscoder
SHARDS = range(config["activations"]["shards"])
# Absent where every family comes with its tuned models.
PROBLEMS = config.get("problems", {"sources": {}, "exclude": {}})
TRACES = config.get("traces", {"shards": 0})
MATH = list(config["evaluation"]["math"])
SAMPLED_BY_VLLM = MATH if STUDY.evaluation.backend == "vllm" else []
TASKS = config["evaluation"]["tasks"]
HELDOUT_TASKS = config["evaluation"]["heldout_tasks"]
BENCHMARK_FILES = benchmark_files(STUDY)
EVALUATION = {**config["evaluation"], "files": BENCHMARK_FILES}  # without the hub
DOWNLOADS = downloads(STUDY)
SYNTHETIC_TASKS = [
    t for t in [*TASKS, *HELDOUT_TASKS, *MATH] if t in benchmark_columns.TASKS
]
ENVIRONMENTS = environments(config)  # by kind of rule
# Modules that training backends import in processes of their own: a change reruns training too.
SFT_PROCESSES = ["crosslens/posttraining/sft/entrypoint.py"]
GRPO_PROCESSES = [
    f"crosslens/posttraining/grpo/{name}.py"
    for name in ["agent_loop", "batch_rollout", "cpu_platform", "no_router"]
]
RULE_RESOURCES = {}  # what one job of each rule requests, for `plan` and `doctor`


def either(values):
    """Return a pattern that matches one of some values, and nothing where there are none."""
    return "|".join(re.escape(str(value)) for value in values) or r"\s"


wildcard_constraints:
    family=either(FAMILIES),
    variant=f"base|(sft|rl)-[1-{N_CHECKPOINTS}]|{crosscoder_design.MATCHED}",
    crosscoder=crosscoder_design.PATTERN,
    group=crosscoder_design.GROUP,
    model_set=f"base|sft|rl|{crosscoder_design.MATCHED}",
    replicate=r"\d+",
    shard=r"\d+|heldout",
    part=r"\d+",
    edited_model=either(FINAL.values()),
    curves=either(CURVES),


def trained_families(paradigm):
    """Return a pattern of the families whose model of a paradigm is trained here."""
    trained = [
        f for f, entry in FAMILIES.items() if paradigm in study_design.trained(entry)
    ]
    return either(trained)


def user_supplied_variants():
    """Return a pattern of the variants that the user supplies, each behind its family."""
    return "|".join(
        rf"(?<=/{re.escape(family)}/)({either(study_design.given(entry))})"
        for family, entry in FAMILIES.items()
    )


def library_hash(*files):
    """Return the hash of the library code that scripts or modules import, without comments.

    A function of the wildcards, so that a job reads the library for its own rule only.
    """
    return lambda w: [fingerprint(ROOT / file, ROOT) for file in files]


def env_file(kind):
    """Return the YAML file of the conda environment of a kind of rule."""
    return f"../envs/{ENVIRONMENTS[kind]}.yaml"


def env_module(kind):
    """Return the environment module of a kind of rule, with a hash of its YAML and lock."""
    name = ENVIRONMENTS[kind]
    return f"{name}/{digest(name)[:12]}"


def rule_resource(rule, resource, default=0):
    """Return a resource of a rule: the value in `resources` of the configuration, or the default.

    Memory is an estimate and grows with every attempt. Run time does not: long jobs resume.
    """
    value = config.get("resources", {}).get(rule, {}).get(resource, default)
    RULE_RESOURCES.setdefault(rule, {})[resource] = value
    return (lambda w, attempt: attempt * value) if resource == "mem_mb" else value
