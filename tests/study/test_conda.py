"""`snakemake --sdm conda` for real: a rule of the Snakefile in the environment of its YAML file."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from conftest import ROOT, TINY, Study

sys.path.insert(0, str(ROOT / "tests" / "conda"))
from channel import make_conda

NEEDED = ("transformers", "tokenizers", "math-verify", "antlr4-python3-runtime", "sympy")


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Return the smallest study, in a copy of the project with an environment of what is tried."""
    root = tmp_path / "project"
    root.mkdir()
    shutil.copy2(ROOT / "Snakefile", root)
    for part in ("rules", "scripts", "crosslens", "envs", "profiles", "schemas"):
        shutil.copytree(ROOT / part, root / part)
    file = root / "envs" / "analysis.yaml"
    lines = file.read_text().splitlines(keepends=True)
    pins = {line: re.search(r"- ([\w-]+)==", line) for line in lines}
    file.write_text("".join(line for line in lines if not pins[line] or pins[line][1] in NEEDED))
    monkeypatch.setenv("PATH", f"{make_conda(tmp_path)}:{os.environ['PATH']}")
    (tmp_path / "study").mkdir()
    return Study(tmp_path / "study", TINY, root=root)


def test_a_rule_runs_in_the_environment_of_its_yaml_file(study: Study) -> None:
    target = "results/tiny/world/problems.jsonl"
    arguments = ("--cores", "1", "--sdm", "conda", "--", target)
    done = study.snakemake(*arguments)
    assert done.returncode == 0, done.stdout
    assert "Environment for" in done.stdout and "analysis.yaml created" in done.stdout
    assert (study.folder / target).stat().st_size > 0
    folders = (study.folder / ".snakemake" / "conda").iterdir()
    (prefix,) = [path for path in folders if path.is_dir()]
    assert (prefix / "lib" / "python3.11" / "site-packages" / "tokenizers").is_dir()
    again = study.snakemake("--dry-run", *arguments)
    assert "Nothing to be done" in again.stdout
    page = study.snakemake(*arguments[:-1], "doctor").stdout
    assert re.search(r"error +environment analysis .*No module named 'torch'", page)
    assert re.search(r"error +environment sft .*/bin/python is missing. Run snakemake with", page)
