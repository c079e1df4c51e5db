"""Every job's arguments are those that its script's `main` takes, under their names and types."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from conftest import HUB_PIQA, MINI, ROOT
from pydantic import TypeAdapter
from snakemake.api import (
    ConfigSettings,
    DAGSettings,
    OutputSettings,
    ResourceSettings,
    SnakemakeApi,
    WorkflowSettings,
)
from test_dag import RULES

from crosslens.config.sections import Section
from crosslens.config.study import StudyConfig
from crosslens.workflow.job import convert


def subclasses(kind: type) -> Iterator[type]:
    """All classes that are derived from a class."""
    for below in kind.__subclasses__():
        yield below
        yield from subclasses(below)


TYPES = {"Path": Path, "Any": Any, "Literal": Literal, "StudyConfig": StudyConfig} | {
    kind.__name__: kind for kind in subclasses(Section)
}


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """One job of each rule of the mini study, by rule."""
    file = tmp_path_factory.mktemp("study") / "config.yaml"
    files = MINI["evaluation"]["files"] | {"piqa": HUB_PIQA}
    evaluation = MINI["evaluation"] | {"files": files, "backend": "vllm"}
    file.write_text(yaml.safe_dump(MINI | {"evaluation": evaluation}))
    with SnakemakeApi(OutputSettings(verbose=False)) as api:
        study = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=[file]),
            workflow_settings=WorkflowSettings(),
            snakefile=ROOT / "Snakefile",
            workdir=file.parent,
        )
        every = DAGSettings(targets={"all", "features_export"})
        study.dag(every).execute_workflow(executor="dryrun")
        yield {job.rule.name: job for job in study._workflow_store.dag.jobs}


def script(rule: str) -> tuple[ast.FunctionDef, list[ast.stmt]]:
    """Return `main` of a rule's script, and what runs under Snakemake."""
    tree = ast.parse((ROOT / "scripts" / f"{rule}.py").read_text())
    (main,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main")
    last = tree.body[-1]
    assert isinstance(last, ast.If)
    return main, last.body


@pytest.mark.parametrize("rule", RULES)
def test_a_job_gives_main_the_arguments_that_it_declares(
    rule: str, planned: dict[str, Any]
) -> None:
    """The end of the script runs as for Snakemake, without the imports at its beginning."""
    main, body = script(rule)
    given: dict[str, Any] = {}
    names = {
        "Path": Path,
        "snakemake": planned[rule],
        "main": None,
        "run_job": lambda main, job, **arguments: given.update(arguments),
    }
    exec(compile(ast.Module(body, []), rule, "exec"), names)
    declared = {argument.arg: argument.annotation for argument in main.args.kwonlyargs}
    optional = {
        argument.arg
        for argument, default in zip(main.args.kwonlyargs, main.args.kw_defaults, strict=True)
        if default is not None
    }
    assert set(declared) - optional <= set(given) <= set(declared)
    for name, value in given.items():
        kind = eval(ast.unparse(declared[name]), TYPES)
        TypeAdapter(kind).validate_python(convert(value, kind), strict=True)
