"""GPUs through Snakemake: what its jobs are given, and what it refuses before they start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Study
from test_dag import RULES

from crosslens.config.workflow_checks import GPU_RULES
from crosslens.workflow.environments import environments

SNAKEFILE = """
rule all:
    input:
        [f"one-{i}.json" for i in range(6)],
        "all.json",


rule one:
    output:
        "one-{i}.json",
    log:
        "one-{i}.log",
    resources:
        gpu=1,
    script:
        "job.py"


rule whole:
    output:
        "all.json",
    log:
        "all.log",
    resources:
        gpu=4,
    script:
        "job.py"
"""
JOB = """
import json, os, time
from pathlib import Path

from crosslens.workflow.job import run_job


def main(*, out: Path) -> None:
    start = time.time()
    time.sleep(0.5)
    found = {"ids": os.environ["CUDA_VISIBLE_DEVICES"], "start": start, "end": time.time()}
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    run_job(main, snakemake, out=snakemake.output[0])
"""


def test_jobs_of_one_run_get_different_gpus(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "job.py").write_text(JOB)
    subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "8", "--resources", "gpu=4", "-q", "all"],
        cwd=tmp_path,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "0,1,2,3"},
    )
    ones = [json.loads(path.read_text()) for path in tmp_path.glob("one-*.json")]
    whole = json.loads((tmp_path / "all.json").read_text())
    assert len(ones) == 6 and whole["ids"] == "0,1,2,3"
    assert all(job["end"] <= whole["start"] or job["start"] >= whole["end"] for job in ones)
    together = [
        (a, b)
        for i, a in enumerate(ones)
        for b in ones[:i]
        if a["start"] < b["end"] and b["start"] < a["end"]
    ]
    assert together  # jobs did run side by side
    assert all(a["ids"] != b["ids"] for a, b in together)


@pytest.mark.parametrize(
    ("devices", "limit", "said"),
    [
        ("", 8, "resources.train_sft.gpu: one job requests 2 GPUs, but this machine has 0"),
        ("0,1", 4, "--resources gpu requests 4 GPUs, but this machine has 2"),
    ],
)
def test_more_gpus_than_the_machine_has(
    study: Study, monkeypatch: pytest.MonkeyPatch, devices: str, limit: int, said: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    study.change("resources.train_sft", {"gpu": 2})
    asked = ("--cores", "1", "--quiet", "all", "--resources", f"gpu={limit}")
    done = study.snakemake(*asked)
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith("Using ")]
    assert done.returncode == 1 and len(lines) == 1
    assert lines[0].startswith(f"Error: {said}")
    assert not (study.folder / "results").exists()
    assert study.snakemake("--dry-run", *asked).returncode == 0  # elsewhere it may run


def test_gpus_for_a_rule_that_uses_none(study: Study) -> None:
    study.change("resources.measure_rank_shifts", {"gpu": 1})
    done = study.snakemake("--dry-run", "--cores", "1")
    assert "Error: resources.measure_rank_shifts.gpu: the rule runs on CPUs" in done.stdout


def test_the_rules_that_take_gpus_are_those_that_the_configuration_may_give_them() -> None:
    taking = {rule for rule, text in RULES.items() if f'gpu=rule_resource("{rule}", "gpu")' in text}
    assert taking == set(GPU_RULES) == {rule for rule, text in RULES.items() if "gpu=" in text}


@pytest.mark.parametrize("kind", ["analysis", "sft", "traces", "answers"])
def test_a_gpu_for_one_rule_chooses_the_cuda_build_of_its_environment(kind: str) -> None:
    """GRPO's follows `grpo.device`."""
    backends = {"traces": {"backend": "vllm"}, "evaluation": {"backend": "vllm"}}
    rules = [rule for rule in GPU_RULES if f'env_file("{kind}")' in RULES[rule]]
    assert rules
    for rule in rules:
        chosen = environments({"resources": {rule: {"gpu": 1}}} | backends)
        assert chosen[kind].endswith("-cuda"), rule
