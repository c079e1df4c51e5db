"""Ray starts where TMPDIR is as long as on clusters: its sockets then go to /tmp."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

from crosslens.posttraining.grpo import verl

START = """
import os, ray
ray.init(num_cpus=1, include_dashboard=False)
print(ray.get(ray.remote(lambda: "answered").remote()), os.environ["RAY_TMPDIR"])
"""


@pytest.fixture
def long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a TMPDIR of more bytes than Ray leaves."""
    folder = tmp_path / ("scratch-of-a-job-" * 3)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)  # what it has read before
    return folder


@pytest.mark.slow
def test_ray_starts_with_a_long_tmpdir(
    long: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    verl.run_verl([sys.executable, "-c", START], {}, tmp_path / "run", lambda: None)
    (said,) = (x for x in capfd.readouterr().out.splitlines() if x.startswith("answered"))
    sockets = Path(said.split()[1])
    assert sockets.parent == Path("/tmp") and not sockets.exists()


def test_sockets_are_in_a_tmpdir_that_is_short_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="x" * 10, dir="/tmp") as folder:
        assert len(folder) <= verl.LONGEST_TMPDIR == 27
        monkeypatch.setattr(tempfile, "tempdir", folder)
        sockets = verl.socket_folder()
        assert sockets.parent == Path(folder)
        assert len(os.fsencode(f"{folder}{verl.RAY_SOCKET}")) <= 107
