"""Processes end together, however the one they depend on ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crosslens.io.errors import InputError
from crosslens.posttraining import backend_process

ROOT = Path(__file__).resolve().parents[2]
# An engine as Ray is one: it starts a daemon of another session, and then works on.
ENGINE = """
import subprocess, sys, time
daemon = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"],
                          start_new_session=True, stdout=subprocess.DEVNULL)
print("daemon", daemon.pid, flush=True)
time.sleep({seconds})
"""
JOB = """
import sys
from crosslens.posttraining import backend_process
backend_process.run_backend("engine", [sys.executable, "-c", sys.argv[1]])
"""
# A workflow: it says its number, as rules/common.smk does, and runs a job behind a shell.
WORKFLOW = """
import os, subprocess, sys
os.environ["CROSSLENS_WORKFLOW"] = str(os.getpid())
subprocess.run(["bash", "-c", "python=$0; $python -c \\"$1\\" $2; true", *sys.argv[1:]])
"""
SCRIPT = """
import os, sys, time
from crosslens.workflow.job import job_context
from crosslens.io.atomic import atomic_write
with job_context(sys.argv[1]), atomic_write(sys.argv[1] + '.out') as partial:
    partial.write_text('half')
    print('working', os.getpid(), flush=True)
    time.sleep(60)
"""


def start(program: str, *arguments: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's `&` ignores it
    )


def is_running(pid: int) -> bool:
    """Whether a process works: a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_gone(pid: int, seconds: float = 15) -> bool:
    until = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_running(pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_engine_and_its_daemons_end_with_the_job(number: signal.Signals) -> None:
    job = start(JOB, ENGINE.format(seconds=60))
    daemon = int(job.stdout.readline().split()[1])
    assert is_running(daemon)
    job.send_signal(number)
    job.wait(timeout=15)
    assert is_gone(daemon)


def test_what_an_engine_leaves_ends_with_it(capfd: pytest.CaptureFixture) -> None:
    backend_process.run_backend("engine", [sys.executable, "-c", ENGINE.format(seconds=0)])
    assert is_gone(int(capfd.readouterr().out.split()[1]))


def test_a_killed_engine_is_one_line() -> None:
    program = "import os, signal; print('step 3', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(InputError, match=r"^engine failed \(exit status 137\): step 3$"):
        backend_process.run_backend("engine", [sys.executable, "-c", program])


@pytest.mark.parametrize(
    ("number", "lacking"),
    [
        (signal.SIGKILL, ""),
        (signal.SIGTERM, ""),
        (signal.SIGKILL, "import os; del os.pidfd_open"),  # as in conda's Python
        (signal.SIGKILL, "from crosslens.workflow import processes; processes.PIDFD_OPEN = -1"),
    ],
)
def test_a_job_ends_with_its_workflow(tmp_path: Path, number: signal.Signals, lacking: str) -> None:
    """Whether or not Python and the kernel can open a process."""
    log = tmp_path / "log"
    workflow = start(WORKFLOW, sys.executable, f"{lacking}\n{SCRIPT}", str(log))
    until = time.monotonic() + 30
    while not (log.exists() and log.read_text().startswith("working")):
        assert time.monotonic() < until
        time.sleep(0.02)
    job = int(log.read_text().split()[1])
    workflow.send_signal(number)
    assert is_gone(job)
    assert "the workflow that started this job has ended" in log.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_sigterm_leaves_no_partial_file(tmp_path: Path) -> None:
    job = start(SCRIPT, str(tmp_path / "log"))
    while not (tmp_path / "log").exists() or not (tmp_path / "log").read_text():
        time.sleep(0.02)
    job.terminate()
    assert job.wait(timeout=15) == 128 + signal.SIGTERM
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
