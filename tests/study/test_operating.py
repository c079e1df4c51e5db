"""docs/resources.md has the rules of config.yaml, and the profiles agree where they must."""

import re
from typing import Any

import yaml
from conftest import ROOT

DOCS = (ROOT / "docs" / "resources.md").read_text()
PAPER = yaml.safe_load((ROOT / "config.yaml").read_text())


def profile(name: str) -> dict[str, Any]:
    """Return the settings of one profile."""
    return yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())


def test_the_table_of_resources_has_every_rule_of_the_paper() -> None:
    rules = re.findall(r"^\| `(\w+)` \| \S", DOCS, re.MULTILINE)
    assert len(rules) == len(set(rules))
    assert set(rules) == set(PAPER["resources"])


def test_a_study_may_go_from_one_profile_to_the_other() -> None:
    """What decides on reruns and what the report reads is the same in both."""
    default, slurm = profile("default"), profile("slurm")
    for key in ("software-deployment-method", "rerun-incomplete", "benchmark-extended"):
        assert default[key] == slurm[key]


def test_what_depends_on_the_cluster_stands_in_the_profile_alone() -> None:
    keys = ("slurm_partition", "slurm_account", "gpu_model")
    files = [*(ROOT / "rules").glob("*.smk"), *ROOT.glob("*.yaml"), ROOT / "Snakefile"]
    assert not [(file, key) for file in files for key in keys if key in file.read_text()]
    assert "slurm_partition" in profile("slurm")["default-resources"]
