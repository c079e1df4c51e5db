"""A file that cannot be locked is not called damaged: the line says who refuses and what to do."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from crosslens.io.errors import InputError, lock_refusal
from crosslens.io.hdf5 import open_hdf5, write_hdf5

ROOT = Path(__file__).resolve().parents[2]
HELD = "another process holds a lock on this file. End that process and run again."
REFUSED = (
    "the file system refuses locks (No locks available). Set the environment variable "
    "HDF5_USE_FILE_LOCKING=FALSE, or use another one, and run again."
)
# The kernel answers flock (73 on x86-64) with an error, as a file system without locks does.
WITHOUT_LOCKS = """
import ctypes, struct, sys
from pathlib import Path
import numpy as np
from crosslens.activations.shard_writer import write_shard
from crosslens.data.corpus import Corpus, write_corpus
from crosslens.io.hdf5 import open_hdf5
from crosslens.workflow.job import job_context

number, what, path = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, 73)]  # load the call's number; is it flock?
steps += [(0x06, 0, 0, 0x50000 | number), (0x06, 0, 0, 0x7FFF0000)]  # then an error; else allow
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.byref(Program(len(steps), ctypes.addressof(code))), 0, 0) == 0
rows = np.zeros((4, 2), dtype=np.uint32)
with job_context(path.with_name("log")):
    if what == "corpus":
        corpus = Corpus(rows, np.zeros(4, dtype=np.uint8), ["a"], "hash", {"a": 0})
        write_corpus(corpus, path, heldout_rows=2, shards=1)
    elif what == "shard":
        with write_shard(path, 4, 8, what="x"):
            pass
    else:
        open_hdf5(path)
"""


@pytest.fixture(autouse=True)
def locking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let HDF5 lock files, whatever the shell says."""
    monkeypatch.delenv("HDF5_USE_FILE_LOCKING", raising=False)


def written(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["rows"] = np.arange(3)
    return path


def test_a_file_that_another_process_holds_is_not_called_damaged(tmp_path: Path) -> None:
    path = written(tmp_path / "x.h5")
    with path.open("r+") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        for opened in (open_hdf5, lambda path: write_hdf5(path, "r+")):
            with pytest.raises(InputError) as error:
                opened(path)
            assert str(error.value) == f"{path}: {HELD}"
    with open_hdf5(path) as file:
        assert file["rows"][:].tolist() == [0, 1, 2]


def test_a_truncated_file_is_damaged(tmp_path: Path) -> None:
    path = written(tmp_path / "x.h5")
    os.truncate(path, 100)
    with pytest.raises(InputError, match="truncated or damaged .* Delete it and run again"):
        open_hdf5(path)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["corpus", "shard", "read"])
def test_a_file_system_without_locks_is_one_line(tmp_path: Path, what: str) -> None:
    path = written(tmp_path / "x.h5") if what == "read" else tmp_path / "x.h5"
    command = [sys.executable, "-c", WITHOUT_LOCKS, str(errno.ENOLCK), what, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.startswith(f"Error: {tmp_path}/") and line.endswith(f": {REFUSED}")
    assert what == "read" or not list(tmp_path.glob("*.h5"))
    remedy = os.environ | {"HDF5_USE_FILE_LOCKING": "FALSE"}
    again = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=remedy)
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_each_way_to_refuse_a_lock_is_told_from_other_errors(number: int) -> None:
    refused = OSError(number, f"unable to lock file, errno = {number}")
    assert "the file system refuses locks" in lock_refusal(refused)
    assert lock_refusal(OSError(errno.EAGAIN, "unable to lock file, errno = 11")) == HELD
    assert "HDF5" in lock_refusal(refused)
    assert "HDF5" not in lock_refusal(OSError(errno.ENOLCK, "flock of another file"))
    for other in (OSError(errno.EAGAIN, "a pipe"), OSError(errno.EIO, "x"), ValueError("x")):
        assert lock_refusal(other) is None
