"""verl's training of a tiny model, as the rule's script in processes of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tiny_grpo import TINY_GRPO

from crosslens.config.sections import GRPOConfig
from crosslens.posttraining.grpo import verl_run_state

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import train_grpo  # noqa: E402

STEPS, EVERY = 10, 2
SETTINGS = TINY_GRPO.model_copy(update={"engine": "verl", "save_every": EVERY})
LONGEST = 1800  # seconds of a run
MARK = "CROSSLENS_TEST_ATTEMPT"


class Run:
    """The rule's script in a process group of its own."""

    def __init__(
        self, world: Path, models: Path, name: str, settings: GRPOConfig = SETTINGS
    ) -> None:
        self.models, self.run, self.name = models, models / ".grpo-verl", f"{MARK}={name}"
        self.log = world / f"{name}.log"
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(world), str(models), settings.model_dump_json()],
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), MARK: name},
                start_new_session=True,
            )

    def wait_for(self, step: int) -> None:
        """Wait until verl has logged a step."""
        while step not in verl_run_state.logged_steps(self.run / verl_run_state.LOG):
            assert self.process.poll() is None, self.output()
            time.sleep(0.02)

    def kill(self) -> None:
        """Send SIGKILL to the group, and wait until the backend's processes have ended too."""
        with suppress(ProcessLookupError):  # it has ended
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        until = time.monotonic() + 30
        while list(self.left()) and time.monotonic() < until:
            time.sleep(0.1)
        assert not list(self.left())

    def left(self) -> Iterator[str]:
        """Yield the living processes of this run, whoever their parent is."""
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self.name.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    yield (entry / "comm").read_text()

    def finish(self) -> None:
        assert self.process.wait(timeout=LONGEST) == 0, self.output()

    def output(self) -> str:
        return self.log.read_text()[-5000:]

    def steps(self) -> list[int]:
        """Return the steps that verl printed."""
        return [int(step) for step in re.findall(r"\bstep:(\d+) - ", self.log.read_text())]


def arguments(world: Path, models: Path, settings: GRPOConfig = SETTINGS) -> dict:
    """Return what the rule gives its script."""
    return {
        "base": world / "base",
        "data": world / "grpo.parquet",
        "checkpoints": [models / f"rl-{k}" for k in range(1, 6)],
        "curves": models / "grpo-curves.csv",
        "versions": models / "versions.json",
        "settings": settings,
        "seed": 0,
        "code": ["a"],
        "gpus": 0,
    }


if __name__ == "__main__":
    world, models, settings = sys.argv[1:]
    given = GRPOConfig.model_validate_json(settings)
    train_grpo.main(**arguments(Path(world), Path(models), given))
