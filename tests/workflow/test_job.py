"""A job's arguments have the types of `main`; a user's error is one line, a bug a traceback."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crosslens.config.sections import InterventionsConfig
from crosslens.workflow.job import convert

ROOT = Path(__file__).resolve().parents[2]
# What lets root read every file is taken from it.
UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]

PROGRAM = """
import sys
from crosslens.io.errors import InputError
from crosslens.workflow.job import job_context
with job_context(sys.argv[1]):
    print("working")
    raise {error}
"""


def run(tmp_path: Path, error: str) -> tuple[subprocess.CompletedProcess, str]:
    log = tmp_path / "log"
    command = [sys.executable, "-c", PROGRAM.format(error=error), str(log)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done, log.read_text()


def test_an_input_error_is_one_line_on_the_terminal_and_in_the_log(tmp_path: Path) -> None:
    done, log = run(tmp_path, "InputError('file x: no column y')")
    assert done.returncode == 1
    assert done.stderr == "Error: file x: no column y\n"
    assert "Error: file x: no column y" in log and "working" in log
    assert "Traceback" not in done.stderr + log


def test_a_bug_keeps_its_traceback_in_the_log(tmp_path: Path) -> None:
    done, log = run(tmp_path, "KeyError('bug')")
    assert done.returncode == 1
    assert "Traceback" in log and "KeyError" in log


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    done, log = run(tmp_path, "(lambda f: (f.write('x'), f.close()))(open('/dev/full', 'w'))")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: disk: no space left. Free some space and run again")
    assert "Traceback" not in done.stderr + log


def test_a_log_on_a_full_disk_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    command = [sys.executable, "-c", PROGRAM.format(error="OSError(28, 'x')"), tmp_path / "log"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.startswith("Error: disk: no space left")


def test_a_file_that_may_not_be_read_is_one_line(tmp_path: Path) -> None:
    done, log = run(tmp_path, "PermissionError(13, 'Permission denied', 'data/x.jsonl')")
    assert done.stderr == (
        "Error: data/x.jsonl: no permission to read or write it. "
        "Correct its permissions and run again.\n"
    )


@pytest.mark.parametrize("error", ["OSError(37, 'No locks')", "OSError(38, 'unable to lock file')"])
def test_a_file_system_without_locks_is_one_line(tmp_path: Path, error: str) -> None:
    """Whichever library asked for the lock."""
    done, log = run(tmp_path, error)
    assert done.stderr.startswith("Error: file locks: the file system refuses locks (")
    assert "Traceback" not in done.stderr + log


UNREADABLE = """
import sys
from pathlib import Path
from crosslens.workflow.job import job_context
with job_context(sys.argv[1]):
    file = Path(sys.argv[2])
    {reader}
"""
READERS = {
    "h5": "__import__('h5py').File(file)",
    "csv": "__import__('pandas').read_csv(file)",
    "parquet": "__import__('pandas').read_parquet(file)",
    "safetensors": "__import__('crosslens.crosscoder.model').crosscoder.model.read_tensors(file)",
    "txt": "__import__('shutil').copytree(file.parent, file.parent / 'copy')",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", READERS)
def test_whatever_library_may_not_read_a_file_it_is_one_line(tmp_path: Path, kind: str) -> None:
    said = "no permission to read or write it. Correct its permissions and run again."
    file = tmp_path / "data" / f"x.{kind}"
    file.parent.mkdir()
    file.write_text("secret")
    file.chmod(0)
    program = UNREADABLE.format(reader=READERS[kind])
    command = [sys.executable, "-c", program, tmp_path / "log", file]
    command = command if os.geteuid() else [*UNPRIVILEGED, *command]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"Error: {file}: {said}\n"


@pytest.mark.parametrize(
    ("value", "kind", "converted"),
    [
        ("a/b", Path, Path("a/b")),
        ("3", int, 3),
        (2, int, 2),
        ("x", str, "x"),
        ("org/model", str | Path, "org/model"),
        (["a", "b"], list[Path], [Path("a"), Path("b")]),
        ("a", list[Path], [Path("a")]),
        (("a", "1"), tuple[Path, int], (Path("a"), 1)),
        ({"csv": "a"}, dict[str, Path], {"csv": Path("a")}),
        ({"f": ["a", "b"]}, dict[str, list[Path]], {"f": [Path("a"), Path("b")]}),
        ([], Path | None, None),
        (None, str | None, None),
        ("a", Path | None, Path("a")),
        (0, int | None, 0),
        ({"seed": 1}, dict, {"seed": 1}),
        ({"amplify_to": 2.0}, InterventionsConfig, InterventionsConfig(amplify_to=2.0)),
    ],
)
def test_an_argument_gets_the_type_that_main_declares(
    value: Any, kind: Any, converted: Any
) -> None:
    assert convert(value, kind) == converted
    assert type(convert(value, kind)) is type(converted)


JOB = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
from crosslens.workflow.job import run_job

def main(*, out: Path, part: int, base: Path | None) -> None:
    print("GPUs:", os.environ["CUDA_VISIBLE_DEVICES"] or "none")
    out.write_text(f"{part + 1} {base}")

log, out = sys.argv[1:]
job = SimpleNamespace(log=[log], resources={"mem_mb": 10})
run_job(main, job, out=out, part="2", base=[])
"""


def test_a_job_has_a_log_typed_arguments_and_no_gpu_that_its_rule_does_not_request(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", JOB, tmp_path / "log", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert (tmp_path / "log").read_text() == "GPUs: none\n"
    assert (tmp_path / "out").read_text() == "3 None"


# A script of rules/, with values as Snakemake gives them: none is read before the check.
GPU_JOB = """
import runpy, sys
from types import SimpleNamespace

class Values:
    def __getattr__(self, name):
        return "x"

script, log, imports_torch = sys.argv[1:]
if imports_torch:
    import torch
    torch.cuda.is_available = lambda: True  # what the driver's library says of too old a driver
job = SimpleNamespace(log=[log], resources=type("R", (dict,), {"gpu": 1})(gpu=1))
job.input = job.output = job.params = job.wildcards = Values()
runpy.run_path(script, {"snakemake": job}, "__main__")
"""


@pytest.mark.slow
def test_a_gpu_that_pytorch_does_not_find_ends_a_job_before_it_computes(tmp_path: Path) -> None:
    program = JOB.replace("import os, sys", "import os, sys, torch").replace("mem_mb", "gpu")
    program = program.replace(": 10", ": 1")
    command = [sys.executable, "-c", program, tmp_path / "log", tmp_path / "out"]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "99"}  # which no machine has
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: GPUs: the job holds 1 (99), but the PyTorch of its environment")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "imports_torch"),
    [
        ("train_sft", ""),
        ("train_grpo", ""),
        ("generate_traces", "yes"),
        ("generate_answers", "yes"),
    ],
)
def test_no_engine_starts_where_pytorch_finds_no_gpu(
    tmp_path: Path, script: str, imports_torch: str
) -> None:
    """Neither LLaMA-Factory, verl or TRL, nor vLLM, whose own check of the GPU is a weaker one."""
    file = ROOT / "scripts" / f"{script}.py"
    command = [sys.executable, "-c", GPU_JOB, file, tmp_path / "log", imports_torch]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "99", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: GPUs: the job holds 1 (99), but the PyTorch of its environment")
