"""SFT by LLaMA-Factory: its settings from ours, and five plain checkpoints from its run.

Cross-entropy on the teacher's trace only, all parameters, one epoch.
"""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from crosslens import engines
from crosslens.errors import InputError
from crosslens.files import put, read_json, remove, write_csv, write_json
from crosslens.traces import DATASET

if TYPE_CHECKING:  # runs in processes of its own; named here so that its changes rerun SFT
    from crosslens import llama_factory  # noqa: F401

FIFTHS = 5
LOSS_COLUMNS = ["step", "epoch", "loss", "grad_norm", "learning_rate"]
# What a trainer leaves beside a model: state, and a pickle with this machine's paths.
TRAINER_FILES = (
    "trainer_state.json",
    "training_args.bin",
    "optimizer*",
    "scheduler*",
    "scaler*",
    "rng_state*",
    "README.md",
)


def fifths(steps: int) -> list[int]:
    """The steps after which a fifth, two fifths, ... of `steps` are done, the last being `steps`.

    Raises InputError when there are fewer steps than checkpoints.
    """
    if steps < FIFTHS:
        raise InputError(
            f"SFT has only {steps} steps, fewer than its {FIFTHS} checkpoints: "
            "give more problems or a smaller sft.batch_size"
        )
    return [-(-steps * k // FIFTHS) for k in range(1, FIFTHS + 1)]


def accumulation(batch_size: int, micro_batch_size: int, devices: int) -> int:
    """Gradient accumulation steps, so that one update sees `batch_size` traces on any devices.

    Raises InputError when the batch cannot be split so.
    """
    steps, rest = divmod(batch_size, micro_batch_size * devices)
    if rest or not steps:
        raise InputError(
            f"sft.batch_size: {batch_size} is no multiple of sft.micro_batch_size: "
            f"{micro_batch_size} times {devices} device(s)"
        )
    return steps


def engine_settings(
    *,
    base: Path,
    data: Path,
    run: Path,
    settings: dict[str, Any],
    seed: int,
    devices: int,
    cpu: bool,
) -> dict[str, Any]:
    """LLaMA-Factory's settings (the content of its YAML file) for our `sft` section.

    No `template`: LLaMA-Factory then parses the tokenizer's own chat template. The last word has
    `sft.options`, LLaMA-Factory's own keys.
    """
    return {
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full",
        "model_name_or_path": str(base),
        "dataset": DATASET,
        "dataset_dir": str(data),
        "cutoff_len": settings["max_length"],
        "train_on_prompt": False,
        "output_dir": str(run),
        "num_train_epochs": 1.0,
        "per_device_train_batch_size": settings["micro_batch_size"],
        "gradient_accumulation_steps": accumulation(
            settings["batch_size"], settings["micro_batch_size"], devices
        ),
        "learning_rate": settings["learning_rate"],
        "warmup_ratio": settings["warmup_ratio"],
        "lr_scheduler_type": settings["lr_scheduler"],
        "bf16": settings["bf16"],
        "use_cpu": cpu,
        "seed": seed,
        "save_strategy": "no",  # crosslens.llama_factory saves after each fifth
        "save_only_model": True,
        "logging_steps": 1,
        "disable_tqdm": True,
        "report_to": "none",
    } | settings.get("options", {})


def train(
    *, base: Path, data: Path, run: Path, settings: dict[str, Any], seed: int, gpus: int
) -> None:
    """Run LLaMA-Factory in processes of its own, one per device, writing to the directory `run`.

    Raises InputError, with its last words, when it fails, and beforehand when the traces are too
    few for one step per checkpoint.
    """
    fifths(-(-len(read_json(data / f"{DATASET}.json")) // settings["batch_size"]))
    devices = max(1, gpus)
    remove(run)
    run.mkdir(parents=True)
    file = run / "settings.yaml"
    engine = engine_settings(
        base=base,
        data=data,
        run=run,
        settings=settings,
        seed=seed,
        devices=devices,
        cpu=gpus == 0,
    )
    file.write_text(yaml.safe_dump(engine, sort_keys=False))
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={devices}", "-m"]
    command = [sys.executable, "-m", *(torchrun if devices > 1 else []), "crosslens.llama_factory"]
    engines.run(
        "LLaMA-Factory",
        [*command, str(file), str(settings["batch_size"])],
        {
            "HF_DATASETS_CACHE": str(run / "cache"),
            "HF_HUB_OFFLINE": "1",
            "LLAMAFACTORY_VERBOSITY": "WARN",
        },
    )


def collect(run: Path, base: Path, checkpoints: list[Path], loss: Path) -> None:
    """Move a run's checkpoints to their places, as plain model directories, and write its losses.

    The engine switches the key-value cache off in the models' configuration, to train; we take
    that back to what it is in `base`. Raises InputError when the run did not save after each
    fifth of its steps.
    """
    saved = sorted(int(path.name.split("-")[1]) for path in run.glob("checkpoint-*"))
    if not saved or saved != fifths(saved[-1]):
        raise InputError(f"LLaMA-Factory saved after steps {saved}, not after each fifth of them")
    state = read_json(run / f"checkpoint-{saved[-1]}" / "trainer_state.json")
    for step, checkpoint in zip(saved, checkpoints, strict=True):
        directory = run / f"checkpoint-{step}"
        for pattern in TRAINER_FILES:
            for file in directory.glob(pattern):
                remove(file)
        config = read_json(directory / "config.json")
        use_cache = read_json(base / "config.json").get("use_cache", True)
        write_json(directory / "config.json", config | {"use_cache": use_cache})
        put(directory, checkpoint)
    write_csv(loss, loss_table(state["log_history"]))
    shutil.rmtree(run)


def loss_table(history: list[dict[str, float]]) -> pd.DataFrame:
    """One row per optimizer step: step, epoch, loss, grad_norm, learning_rate.

    Raises InputError when a loss is not finite.
    """
    table = pd.DataFrame([row for row in history if "loss" in row], columns=LOSS_COLUMNS)
    bad = table[~table["loss"].abs().lt(float("inf"))]
    if len(bad):
        raise InputError(
            f"the SFT loss is {bad['loss'].iloc[0]} at step {bad['step'].iloc[0]}: "
            "try a lower sft.learning_rate"
        )
    return table
