"""An InputError is one line; anything else keeps its traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# What lets root read every file is taken from it.
UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]

PROGRAM = """
import sys
from crosslens.io.errors import InputError
from crosslens.workflow.job import one_line
with one_line(sys.argv[1]):
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
    assert done.stderr.startswith("Error: no space left on the disk: free some and run again")
    assert "Traceback" not in done.stderr + log


def test_a_log_on_a_full_disk_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    command = [sys.executable, "-c", PROGRAM.format(error="OSError(28, 'x')"), tmp_path / "log"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.startswith("Error: no space left on the disk")


def test_a_file_that_may_not_be_read_is_one_line(tmp_path: Path) -> None:
    done, log = run(tmp_path, "PermissionError(13, 'Permission denied', 'data/x.jsonl')")
    assert done.stderr == (
        "Error: data/x.jsonl: no permission to read or write it: correct it and run again\n"
    )


UNREADABLE = """
import sys
from pathlib import Path
from crosslens.workflow.job import one_line
with one_line(sys.argv[1]):
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


@pytest.mark.parametrize("kind", READERS)
def test_whatever_library_may_not_read_a_file_it_is_one_line(tmp_path: Path, kind: str) -> None:
    said = "no permission to read or write it: correct it and run again"
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
