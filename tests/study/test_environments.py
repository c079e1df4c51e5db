"""Environments without conda: built once, rebuilt when their YAML changes, loaded as modules."""

import importlib.util
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from crosslens.workflow.environments import digest, environments

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
UV = ROOT / ".venvs" / ".tools" / "bin" / "uv"
YAML = """# A tiny environment.
channels:
  - conda-forge
dependencies:
  - python=3.11
  - pip
  - pip:
      - six=={version} # pure Python
"""


def program(name: str):
    """Return a program of envs/ as a module."""
    sys.path.insert(0, str(ROOT / "envs"))  # one imports the other
    spec = importlib.util.spec_from_file_location(name, ROOT / "envs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(ROOT / "envs"))
    return module


@pytest.fixture
def maker():
    return program("make_environments")


@pytest.fixture
def envs(tmp_path: Path) -> Path:
    """Make a directory like envs/ with one environment."""
    envs = tmp_path / "envs"
    envs.mkdir()
    shutil.copy(ROOT / "envs" / "module.bash", envs)
    (envs / "tiny.yaml").write_text(YAML.format(version="1.16.0"))
    return envs


def make(maker, envs: Path, *names: str) -> int:
    return maker.main(list(names) or ["tiny"], UV, envs, envs.parent / ".venvs")


def load(envs: Path, module: str) -> subprocess.CompletedProcess:
    """Load a module as Snakemake does, then ask which Python is found."""
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail; module purge && module load {module}; which python"],
        env={"BASH_ENV": str(envs / "module.bash"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_built_reused_rebuilt_and_loaded(maker, envs: Path, capsys) -> None:
    six = envs.parent / ".venvs" / "tiny" / "lib" / "python3.11" / "site-packages" / "six.py"
    assert make(maker, envs) == 0
    said = capsys.readouterr().out
    assert re.fullmatch(
        r"environment tiny: installing ...\n"
        r"environment tiny: ready in \d+ s\n",
        said,
    )
    assert '"1.16.0"' in six.read_text()
    python = envs.parent / ".venvs" / "tiny" / "bin" / "python"
    loaded = load(envs, f"tiny/{digest('tiny', envs)[:12]}")
    assert (loaded.returncode, loaded.stdout.strip()) == (0, str(python))

    assert make(maker, envs, "tiny") == 0
    assert capsys.readouterr().out == "environment tiny: up to date\n"

    (envs / "tiny.yaml").write_text(YAML.format(version="1.17.0"))
    outdated = load(envs, f"tiny/{digest('tiny', envs)[:12]}")
    assert (outdated.returncode, outdated.stdout) == (1, "")
    assert outdated.stderr == (
        "environment tiny is missing or out of date: run `make environments ENVS=tiny`\n"
    )
    assert make(maker, envs) == 0
    assert '"1.17.0"' in six.read_text()
    assert load(envs, f"tiny/{digest('tiny', envs)[:12]}").returncode == 0


def test_a_build_that_was_cut_short_does_not_count(maker, envs: Path) -> None:
    (envs.parent / ".venvs" / "tiny" / "bin").mkdir(parents=True)
    assert not maker.read(envs / "tiny.yaml", envs.parent / ".venvs").current
    assert load(envs, "tiny").returncode == 1


def test_a_failing_install_names_the_package(maker, envs: Path, capsys) -> None:
    (envs / "tiny.yaml").write_text(YAML.format(version="0.0.0.dev404"))
    assert make(maker, envs) == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: environment tiny: uv failed:\n")
    assert "six==0.0.0.dev404" in said and len(said.splitlines()) <= 6
    assert load(envs, "tiny").returncode == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("python=3.11", "python=3.12", "python=3.12 is not supported. Request Python 3.11"),
        ("  - pip\n", "  - pip\n  - samtools=1.20\n", "samtools=1.20 is a conda package"),
        ("  - pip:\n", "  - pip\n", "the dependencies do not end with `pip:` and a list"),
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
    assert capsys.readouterr().err == "Error: environment huge: unknown. Choose from tiny.\n"


def test_another_python_is_refused(maker, capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 12, 0))
    assert maker.start([]) == 1
    assert "the environments need Python 3.11" in capsys.readouterr().err


def test_only_purge_and_load_are_known(envs: Path) -> None:
    assert load(envs, "tiny; module avail").returncode != 0


def test_what_does_not_import_is_named(maker, envs: Path, capsys) -> None:
    file = envs / "tiny.yaml"
    file.write_text(
        file.read_text().replace("six=={version}", "") + "      - uwsgidecorators==1.1.0\n"
    )
    assert make(maker, envs) == 1
    assert "uwsgidecorators does not import: ModuleNotFoundError" in capsys.readouterr().err


def test_environments_share_their_files_and_their_locks_are_followed(maker, envs: Path) -> None:
    (envs / "locks").mkdir()
    for name in ("tiny", "other"):
        (envs / f"{name}.yaml").write_text(YAML.format(version="1.16.0"))
        (envs / "locks" / f"{name}.txt").write_text("six==1.16.0\n")
    before = digest("tiny", envs)
    assert make(maker, envs, "tiny", "other") == 0
    place = Path("lib", "python3.11", "site-packages", "six.py")
    first, second = (envs.parent / ".venvs" / name / place for name in ("tiny", "other"))
    assert first.samefile(second)
    (envs / "locks" / "tiny.txt").write_text("six==1.17.0\n")
    assert digest("tiny", envs) != before
    assert make(maker, envs, "tiny") == 0
    assert '"1.17.0"' in first.read_text() and '"1.16.0"' in second.read_text()


@pytest.mark.parametrize("file", ENVIRONMENTS, ids=lambda file: file.stem)
def test_every_environment_is_pinned_and_locked_to_its_pins(maker, file: Path) -> None:
    conda, pip = maker.dependencies(file)
    assert conda == ["python=3.11", "pip"]
    assert all(re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?==[\w.]+", pin) for pin in pip)
    lock = (file.parent / "locks" / f"{file.stem}.txt").read_text()
    pins = dict(line.split("==") for line in lock.splitlines())
    for pin in pip:
        name, version = re.sub(r"\[.*\]", "", pin).lower().replace("_", "-").split("==")
        assert pins[name] in (version, f"{version}+cpu")
    cuda = file.stem.endswith("-cuda")
    assert any(name.startswith("nvidia-") for name in pins) == cuda
    assert ("+cpu" in pins.get("torch", "")) == (not cuda and "torch" in pins)


def test_the_hooks_before_a_commit_have_the_versions_of_make_lint(maker) -> None:
    pins = {
        pin
        for name in ("workflow", "lint")
        for pin in maker.dependencies(ROOT / "envs" / f"{name}.yaml")[1]
    }
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = {hook["id"]: hook for hook in repositories[-1]["hooks"]}
    assert repositories[-1]["repo"] == "local"
    assert hooks.keys() == {"ruff-check", "ruff-format", "snakefmt", "codespell"}
    for hook in hooks.values():
        assert set(hook["additional_dependencies"]) <= pins
        assert hook["additional_dependencies"][0].startswith(hook["entry"].split()[0] + "==")


def test_all_environments_resolve_for_linux() -> None:
    """Each lock is a solution of its YAML file's requirements, by the package index as it is now.

    Nothing is installed. Without the package index this fails, and uv's message says so.
    """
    locks = program("lock_environments")
    names = [file.stem for file in ENVIRONMENTS]
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda name: locks.resolve(name, UV, locks.LOCKS / f"{name}.txt"), names)
    for name, pins in zip(names, found, strict=True):
        assert pins == (locks.LOCKS / f"{name}.txt").read_text(), name


def test_the_configuration_chooses_the_environments() -> None:
    paper, mini = (yaml.safe_load((ROOT / f"{x}.yaml").read_text()) for x in ("config", "mini"))
    cuda = {"sft": "sft-cuda", "grpo": "grpo-cuda", "analysis": "analysis-cuda"}
    assert environments(paper) == {**cuda, "traces": "vllm-cuda", "answers": "vllm-cuda"}
    cpu = {"sft": "sft", "grpo": "grpo", "analysis": "analysis"}
    cpu |= {"traces": "analysis", "answers": "analysis"}
    assert environments(mini) == cpu
    mini["evaluation"]["backend"] = "vllm"
    assert environments(mini) == cpu | {"answers": "vllm"}
    mini["resources"] = {"generate_answers": {"gpu": 1}}
    assert environments(mini) == cpu | {"answers": "vllm-cuda"}
    mini["evaluation"]["backend"] = "transformers"
    mini["traces"]["backend"] = "vllm"
    assert environments(mini) == cpu | {"traces": "vllm"}
    mini["resources"] = {"train_crosscoders": {"gpu": 1}}
    gpus = {"traces": "vllm", "analysis": "analysis-cuda", "answers": "analysis-cuda"}
    assert environments(mini) == cpu | gpus
    mini["grpo"]["device"] = "cuda"
    assert environments(mini)["grpo"] == "grpo-cuda"
    mini["grpo"]["engine"] = "trl"
    assert environments(mini)["grpo"] == "analysis-cuda"
    assert {*environments(paper).values(), *cpu.values()} < {file.stem for file in ENVIRONMENTS}
