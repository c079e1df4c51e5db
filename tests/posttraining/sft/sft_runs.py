"""SFT of a tiny model by the rule's script; under DeepSpeed in processes of its own, on a CPU."""

import sys
from pathlib import Path

from killable import Killable

from crosslens.config.sections import SFTConfig
from crosslens.posttraining import backend_process, resumable_run

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import train_sft  # noqa: E402

SETTINGS = SFTConfig(
    learning_rate=1.0e-2,
    batch_size=4,
    micro_batch_size=2,
    max_length=64,
    warmup_ratio=0.1,
    lr_scheduler="cosine",
    bf16=False,
    llamafactory_options={"disable_gradient_checkpointing": True},
)


def arguments(
    base: Path, data: Path, models: Path, settings: SFTConfig = SETTINGS, gpus: int = 0
) -> dict:
    """Return what the rule gives its script."""
    return {
        "base": base,
        "data": data,
        "checkpoints": [models / f"sft-{k}" for k in range(1, 6)],
        "loss": models / "sft-loss.csv",
        "versions": models / "versions.json",
        "settings": settings,
        "seed": 0,
        "code": [],
        "gpus": gpus,
    }


def on_two_cpus(**options: object) -> SFTConfig:
    """Return settings with which two processes on the CPU take the place of two GPUs."""
    more = SETTINGS.llamafactory_options | {"ddp_backend": "gloo"} | options
    return SETTINGS.model_copy(update={"llamafactory_options": more})


class Run(Killable):
    """The rule's script, in two processes under a stage of DeepSpeed."""

    def __init__(self, base: Path, data: Path, models: Path, name: str, stage: str) -> None:
        self.run = models / ".sft-run"
        super().__init__(models / f"{name}.log", __file__, base, data, models, stage)

    def wait_for(self, step: int) -> None:
        """Wait until the checkpoint after a step is complete."""
        mark = self.run / f"checkpoint-{step}" / resumable_run.COMPLETE_MARK
        self.wait_until(mark.exists, every=0.001)


def run_over_gloo(what: str, command: list[str], environment: dict[str, str]) -> None:
    """Run the backend by `deepspeed_over_gloo`."""
    entrypoint = "crosslens.posttraining.sft.entrypoint"
    started = ["deepspeed_over_gloo" if part == entrypoint else part for part in command]
    run_backend(what, started, environment | {"DS_ACCELERATOR": "cpu"})


if __name__ == "__main__":
    *folders, stage = sys.argv[1:]
    run_backend, backend_process.run_backend = backend_process.run_backend, run_over_gloo
    settings = on_two_cpus().model_copy(update={"deepspeed": stage})
    train_sft.main(**arguments(*map(Path, folders), settings, gpus=2))
