"""Environments without conda: built once, rebuilt when their YAML changes, loaded as modules."""

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
YAML = """# A tiny environment.
channels:
  - conda-forge
dependencies:
  - python=3.11
  - pip
  - pip:
      - six=={version} # pure Python
"""


@pytest.fixture
def maker():
    """envs/make_environments.py as a module."""
    spec = importlib.util.spec_from_file_location(
        "make_environments", ROOT / "envs" / "make_environments.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def envs(tmp_path: Path) -> Path:
    """A directory like envs/ with one environment."""
    envs = tmp_path / "envs"
    envs.mkdir()
    shutil.copy(ROOT / "envs" / "module.bash", envs)
    (envs / "tiny.yaml").write_text(YAML.format(version="1.16.0"))
    return envs


def make(maker, envs: Path, *names: str) -> int:
    return maker.main(list(names), envs, envs.parent / ".venvs")


def load(envs: Path, module: str) -> subprocess.CompletedProcess:
    """Load a module as Snakemake does, then ask which Python is found."""
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail; module purge && module load {module}; which python"],
        env={"BASH_ENV": str(envs / "module.bash"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def test_built_reused_rebuilt_and_loaded(maker, envs: Path, capsys) -> None:
    six = envs.parent / ".venvs" / "tiny" / "lib" / "python3.11" / "site-packages" / "six.py"
    assert make(maker, envs) == 0
    said = capsys.readouterr().out
    assert re.fullmatch(
        r"environment tiny: installing 1 packages and what they need ...\n"
        r"environment tiny: ready in \d+ s\n",
        said,
    )
    assert '"1.16.0"' in six.read_text()
    python = envs.parent / ".venvs" / "tiny" / "bin" / "python"
    loaded = load(envs, f"tiny/{digest(envs / 'tiny.yaml')}")
    assert (loaded.returncode, loaded.stdout.strip()) == (0, str(python))

    assert make(maker, envs, "tiny") == 0
    assert capsys.readouterr().out == "environment tiny: up to date\n"

    (envs / "tiny.yaml").write_text(YAML.format(version="1.17.0"))
    outdated = load(envs, f"tiny/{digest(envs / 'tiny.yaml')}")
    assert (outdated.returncode, outdated.stdout) == (1, "")
    assert outdated.stderr == (
        "environment tiny is missing or out of date: run `make environments`\n"
    )
    assert make(maker, envs) == 0
    assert '"1.17.0"' in six.read_text()
    assert load(envs, f"tiny/{digest(envs / 'tiny.yaml')}").returncode == 0


def test_a_build_that_was_cut_short_does_not_count(maker, envs: Path) -> None:
    (envs.parent / ".venvs" / "tiny" / "bin").mkdir(parents=True)
    assert not maker.read(envs / "tiny.yaml", envs.parent / ".venvs").current
    assert load(envs, "tiny").returncode == 1


def test_a_failing_install_names_the_package(maker, envs: Path, capsys) -> None:
    (envs / "tiny.yaml").write_text(YAML.format(version="0.0.0.dev404"))
    assert make(maker, envs) == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: environment tiny: pip failed:\n")
    assert "six==0.0.0.dev404" in said and len(said.splitlines()) <= 6
    assert load(envs, "tiny").returncode == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("python=3.11", "python=3.12", "tiny.yaml asks for python=3.12: only Python 3.11"),
        ("  - pip\n", "  - pip\n  - samtools=1.20\n", "samtools=1.20 is a conda package"),
        ("- six==", "+ six==", "tiny.yaml, line 8: cannot read"),
    ],
)
def test_what_cannot_be_built_is_one_line(
    maker, envs: Path, capsys, old: str, new: str, message: str
) -> None:
    file = envs / "tiny.yaml"
    file.write_text(file.read_text().replace(old, new))
    assert make(maker, envs) == 1
    said = capsys.readouterr().err
    assert message in said and len(said.splitlines()) == 1


def test_an_unknown_name_lists_the_known(maker, envs: Path, capsys) -> None:
    assert make(maker, envs, "huge") == 1
    assert capsys.readouterr().err == "Error: no environment huge: there are tiny\n"


def test_another_python_is_refused(maker, envs: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 12, 0))
    assert make(maker, envs) == 1
    assert "the environments need Python 3.11" in capsys.readouterr().err


def test_only_purge_and_load_are_known(envs: Path) -> None:
    assert load(envs, "tiny; module avail").returncode != 0


@pytest.mark.parametrize("file", ENVIRONMENTS, ids=lambda file: file.stem)
def test_every_environment_reads_as_yaml_does_and_is_pinned(maker, file: Path) -> None:
    conda, pip = maker.dependencies(file)
    *others, last = yaml.safe_load(file.read_text())["dependencies"]
    assert (conda, pip) == (others, last["pip"])
    assert all(re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?==[\w.]+", pin) for pin in pip)
    assert "pytest" in {pin.split("==")[0] for pin in pip}
