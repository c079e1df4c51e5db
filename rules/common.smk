"""What every rule file shares: the checked configuration, the environments, and the input functions.

INPUTS: the configuration; envs/*.yaml; schemas/config.schema.yaml.
OUTPUTS: none; names used by the other rule files.
"""

import hashlib
import os
import re
import sys
from pathlib import Path

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT))

from crosslens.errors import InputError
from crosslens.fingerprint import fingerprint
from crosslens.validation import preflight

# Scripts import the library from here; with --sdm env-modules and no module system on the machine,
# envs/module.bash stands in for one, over the virtual environments of `make environments`.
os.environ["PYTHONPATH"] = str(ROOT)
os.environ.setdefault("BASH_ENV", str(ROOT / "envs" / "module.bash"))

# Jobs read this file again, with their own share of the machine as the limit: only the first counts.
limit = workflow.global_resources.get("gpu") if workflow.is_main_process else None

try:
    preflight(
        config, ROOT / "schemas" / "config.schema.yaml", getattr(limit, "value", limit)
    )
except InputError as error:
    sys.exit(f"Error: {error}")

CHECKPOINTS = range(1, 6)  # fifths of the epoch
TUNED = [f"{paradigm}-{k}" for paradigm in ("sft", "rl") for k in CHECKPOINTS]
VARIANTS = ["base", *TUNED]
FINAL = {"base": "base", "sft": "sft-5", "rl": "rl-5"}
FAMILIES = list(config["families"])
TASKS = config["evaluation"]["tasks"]
UNSEEN = config["evaluation"]["unseen"]
GRPO_ENV = {"verl": "grpo", "trl": "sft"}[config["grpo"]["engine"]]


wildcard_constraints:
    study=re.escape(config["study"]),
    family="|".join(map(re.escape, FAMILIES)),
    variant="base|(sft|rl)-[1-5]",
    shard=r"\d+|heldout",
    crosscoder="(sft|rl)-[1-5]|trio",
    replica=r"\d+",


def code(*scripts):
    """Hash of the library code that scripts reach: a change of code, not of a comment, is a reason to rerun."""
    return [fingerprint(ROOT / script) for script in scripts]


def module(environment):
    """Name of the environment module: an edit of envs/<environment>.yaml changes it, and reruns."""
    text = (ROOT / "envs" / f"{environment}.yaml").read_bytes()
    return f"{environment}/{hashlib.sha256(text).hexdigest()[:12]}"


def need(rule, resource, default):
    """A rule's share of the machine, from `resources:` of the configuration."""
    return config.get("resources", {}).get(rule, {}).get(resource, default)


def gpus(rule):
    """GPUs that one job of a rule takes."""
    return need(rule, "gpu", 0)
