"""Functions that the Snakefile calls when it is read, before the first job, and after a failure.

`workflow` is Snakemake's object. On a cluster, every job reads the Snakefile again in its own
process; only the main process does what concerns the complete run.
"""

import gc
import os
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from crosslens.config.chat_templates import check_chat_templates
from crosslens.config.loading import load_study
from crosslens.config.study import StudyConfig
from crosslens.config.yaml_files import check_repeated_keys
from crosslens.io.errors import InputError
from crosslens.workflow import downloads, slurm
from crosslens.workflow.cost_estimate import printed_plan
from crosslens.workflow.doctor import interpreters
from crosslens.workflow.doctor.examination import examine
from crosslens.workflow.doctor.finding import count_errors, format_findings
from crosslens.workflow.earlier_runs import wait_for_earlier
from crosslens.workflow.gpu_locks import check_machine
from crosslens.workflow.processes import WORKFLOW

Result = TypeVar("Result")
JOB_ENVIRONMENT = {  # defaults: a value that the user has set stays
    # PyTorch's idle threads would spin on the cores that the crosscoder's kernels compute on.
    "OMP_WAIT_POLICY": "passive",
    # glibc would return the memory of each large tensor to the system: 10% of a small model's time.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20),
}


def exit_on_input_error(function: Callable[..., Result]) -> Callable[..., Result]:
    """End Snakemake with a one-line error if a function raises InputError."""

    @wraps(function)
    def wrapped(*arguments: Any) -> Result:
        try:
            return function(*arguments)
        except InputError as error:
            sys.exit(f"Error: {error}")

    return wrapped


def set_environment(root: Path) -> None:
    """Set the environment of all jobs, and tune this process for thousands of them.

    Jobs import the library from the checkout `root` and end with this process
    (crosslens.workflow.processes). With `--sdm env-modules`, envs/module.bash finds the virtual
    environments of `make environments`; without these, the machine's own modules are used.
    """
    gc.set_threshold(
        100_000, 50, 50
    )  # the DAG's objects stay: searching them costs 10% of a dry run
    modules = str(root / "envs" / "module.bash")
    os.environ.update({"PYTHONPATH": str(root), WORKFLOW: str(os.getpid())})
    # A container that sets it would have every job compile the packages that it imports.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for name, value in {**JOB_ENVIRONMENT, "BASH_ENV": modules}.items():
        os.environ.setdefault(name, value)
    if (root / ".venvs").is_dir():
        os.environ["BASH_ENV"] = modules


@exit_on_input_error
def check_configuration(workflow: Any, config: dict[str, Any], root: Path) -> StudyConfig:
    """Check the configuration and the files it names; return it with defaults filled in."""
    for file in workflow.configfiles:
        check_repeated_keys(Path(file))
    return load_study(config, root / "scripts", gpu_limit(workflow))


def gpu_limit(workflow: Any) -> int | None:
    """Return N of `--resources gpu=N`; None without it and in jobs, which get only a part of N."""
    limit = workflow.global_resources.get("gpu") if workflow.is_main_process else None
    return getattr(limit, "value", limit)


@exit_on_input_error
def before_first_job(workflow: Any, config: dict[str, Any]) -> None:
    """Wait for the jobs of a killed run, and check that the planned jobs can run here.

    Only jobs that run on this machine are checked: they would wait for GPUs that it does not have.
    """
    jobs = list(workflow.dag.needrun_jobs())
    if workflow.local_exec:
        wait_for_earlier(Path.cwd())
        requests = {job.rule.name: job.resources.get("gpu", 0) for job in jobs}
        check_machine(requests, gpu_limit(workflow))
    if workflow.executor_plugin.name == "slurm":
        comments = [slurm.comment(job.name, job.wildcards) for job in jobs]
        slurm.check_queued(comments, Path(workflow.workdir_init), config["study"])


def report_failures(workflow: Any, log: list[str]) -> None:
    """Print one line for each job that failed on a cluster; `log` are the run's own log files."""
    if workflow.executor_plugin.name == "slurm":
        text = "".join(Path(file).read_text(errors="replace") for file in log)
        if failed := slurm.failures(text):
            print("Failed jobs:", *failed, sep="\n  ", file=sys.stderr)


def print_plan(study: StudyConfig, requests: Mapping[str, Mapping[str, int]]) -> None:
    """Print the plan of the study; `requests` are the resources of one job of each rule."""
    try:
        print(printed_plan.plan_text(study, requests))
    except InputError as error:
        fail_rule(str(error))


def print_examination(
    workflow: Any,
    study: StudyConfig,
    requests: Mapping[str, Mapping[str, int]],
    environments: Mapping[str, str],
    root: Path,
) -> None:
    """Print what could stop the study; fail if a check has found an error.

    `environments` names the environment of each kind of rule.
    """
    start = interpreter_start(workflow, root)
    findings = examine(study, requests, environments, root, start)
    print(format_findings(findings), flush=True)
    if errors := count_errors(findings):
        fail_rule(f"doctor: errors found: {errors}. Follow the fixes above.")


def interpreter_start(workflow: Any, root: Path) -> interpreters.Start:
    """Return how jobs find the Python of an environment under the deployment method of this run."""
    methods = {method.name for method in workflow.deployment_settings.deployment_method}
    if "ENV_MODULES" in methods:
        return interpreters.start_with_modules
    if "CONDA" in methods:
        return interpreters.start_with_conda(workflow, root)
    return interpreters.start_here


def fail_rule(message: str) -> None:
    """End a rule with a `run` directive: Snakemake never returns from SystemExit in one."""
    from snakemake.exceptions import WorkflowError

    raise WorkflowError(message)


def list_downloads(study: StudyConfig, records: list[str], out: str) -> None:
    """Print and write what was downloaded from the hub, with sizes on disk and licences.

    `records` are the files of download_source. Fails if a model lacks the chat template that it
    needs.
    """
    print(downloads.terminal_table(records))
    try:
        check_chat_templates(study)
    except InputError as error:
        fail_rule(str(error))
    downloads.write_table(records, Path(out))
