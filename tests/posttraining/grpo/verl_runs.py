"""verl's training of a tiny model, as the rule's script in processes of its own."""

import re
import sys
from pathlib import Path

from killable import Killable
from tiny_grpo import TINY_GRPO

from crosslens.config.sections import GRPOConfig
from crosslens.posttraining.grpo import verl_run_state

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import train_grpo  # noqa: E402

STEPS, EVERY = 10, 2
SETTINGS = TINY_GRPO.model_copy(update={"engine": "verl", "save_every": EVERY})


class Run(Killable):
    """The rule's script in a process group of its own."""

    def __init__(
        self, world: Path, models: Path, name: str, settings: GRPOConfig = SETTINGS
    ) -> None:
        self.models, self.run = models, models / ".grpo-verl"
        given = (world, models, settings.model_dump_json())
        super().__init__(world / f"{name}.log", __file__, *given)

    def wait_for(self, step: int) -> None:
        """Wait until verl has logged a step."""
        log = self.run / verl_run_state.LOG
        self.wait_until(lambda: step in verl_run_state.logged_steps(log))

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
