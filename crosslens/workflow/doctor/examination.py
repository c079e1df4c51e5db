"""Run all checks of `snakemake doctor`, in the order of its page."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from crosslens.config.study import StudyConfig
from crosslens.workflow.doctor import cluster, gpus, hub, interpreters, machine
from crosslens.workflow.doctor.finding import Finding, ok
from crosslens.workflow.doctor.machine import Requests
from crosslens.workflow.doctor.results_folder import results_folder
from crosslens.workflow.doctor.unfinished import unfinished

TOGETHER = 2  # environments that start at once


def examine(
    study: StudyConfig,
    requests: Requests,
    environments: Mapping[str, str],
    root: Path,
    start: interpreters.Start,
) -> list[Finding]:
    """Return the findings for a study, whose rules' jobs have `requests`.

    `environments` names the environment of each kind of rule, `root` is the project's folder;
    `start` gives the command of a Python module in an environment.
    """
    on_cluster = cluster.installed()
    with_gpus = any(request.get("gpu", 0) for request in requests.values())
    results = Path("results", study.study)
    return [
        machine.python(),
        machine.memory(requests, cluster=on_cluster),
        machine.disk(study, results),
        machine.shared_memory(gpus=with_gpus),
        machine.temporary_folder(),
        machine.c_compiler(gpus=with_gpus),
        machine.nvcc(gpus=with_gpus),
        *results_folder(results),
        *unfinished(study, results),
        *processors(study, requests, environments, start, on_cluster=on_cluster),
        *(cluster.slurm_limits(requests, root) if on_cluster else ()),
    ]


def processors(
    study: StudyConfig,
    requests: Requests,
    environments: Mapping[str, str],
    start: interpreters.Start,
    *,
    on_cluster: bool,
) -> list[Finding]:
    """Start every environment; return which GPUs each one finds, and what the hub answers."""
    driver = gpus.driver_version()
    used = interpreters.rules_by_environment(study, environments)
    items = hub.hub_items(study)
    with ThreadPoolExecutor(TOGETHER) as pool:
        probes = {
            name: pool.submit(interpreters.run, start(name, interpreters.PROBE)) for name in used
        }
        command = start(environments["analysis"], hub.PROBE)
        asked = pool.submit(interpreters.run, command, json.dumps(items)) if items else None
    findings = [gpus.gpus(requests, driver, cluster=on_cluster)]
    for name, rules in used.items():
        needed = interpreters.most_gpus(rules, requests)
        answer = probes[name].result()
        findings.append(interpreters.environment(name, answer, needed, driver, cluster=on_cluster))
    return [*findings, *(hub.judge(asked.result()) if asked else [ok("hub", "not used")])]
