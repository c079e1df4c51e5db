"""SFT by LLaMA-Factory: its settings from ours, and five plain checkpoints from its run.

Cross-entropy on the teacher's trace only, all parameters, one epoch.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from crosslens.data.traces import DATASET
from crosslens.io.atomic import atomic_write, remove_atomically
from crosslens.io.errors import InputError
from crosslens.io.records import read_json, write_csv, write_json
from crosslens.posttraining import backend_process, resumable_run
from crosslens.posttraining.checkpoint_schedule import exact_checkpoint_steps
from crosslens.posttraining.resumable_run import (
    COMPLETE,
    STATE_FILES,
    checkpoints,
    last_checkpoint,
    step_of,
)

LOSS_COLUMNS = ["step", "epoch", "loss", "grad_norm", "learning_rate"]
# What else it leaves beside a model, a pickle with this machine's paths among it.
OTHER_FILES = ("trainer_state.json", "training_args.bin", "README.md", "latest", "zero_to_fp32.py")

# DeepSpeed looks for nvcc when it is imported on a GPU node; ZeRO compiles nothing.
ENVIRONMENT = {
    "DS_IGNORE_CUDA_DETECTION": "1",
    "HF_HUB_OFFLINE": "1",
    "LLAMAFACTORY_VERBOSITY": "WARN",
}


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


def deepspeed_settings(stage: int, batch_size: int) -> dict[str, Any]:
    """DeepSpeed's configuration: ZeRO of a stage, as in LLaMA-Factory's examples.

    `auto` is filled in by transformers from its own arguments; the batch is stated, so that
    DeepSpeed itself refuses another. Whole weights are gathered for every checkpoint.
    """
    zero: dict[str, Any] = {"stage": stage, "overlap_comm": False, "contiguous_gradients": True}
    if stage == 3:
        zero |= {
            "reduce_bucket_size": "auto",
            "stage3_prefetch_bucket_size": "auto",
            "stage3_param_persistence_threshold": "auto",
            "stage3_gather_16bit_weights_on_model_save": True,
        }
    return {
        "train_batch_size": batch_size,
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": "auto"},
        "zero_optimization": zero,
    }


def engine_settings(
    *,
    base: Path,
    data: Path,
    run: Path,
    settings: dict[str, Any],
    seed: int,
    devices: int,
    cpu: bool,
    resume: Path | None = None,
) -> dict[str, Any]:
    """LLaMA-Factory's settings (the content of its YAML file) for our `sft` section.

    No `template`: LLaMA-Factory then parses the tokenizer's own chat template. The last word has
    `sft.options`, LLaMA-Factory's own keys. `resume` is a checkpoint to go on from.
    """
    deepspeed = settings.get("deepspeed", "none") != "none"
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
        "overwrite_output_dir": True,
        "resume_from_checkpoint": str(resume) if resume else None,
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
        **({"deepspeed": str(run / "deepspeed.json")} if deepspeed else {}),
        "seed": seed,
        "save_strategy": "no",  # crosslens.posttraining.sft.entrypoint saves after each fifth
        "save_only_model": False,  # the last checkpoint is what a killed run goes on from
        "logging_steps": 1,
        "disable_tqdm": True,
        "report_to": "none",
    } | settings.get("options", {})


def train(
    *, base: Path, data: Path, run: Path, settings: dict[str, Any], seed: int, gpus: int
) -> None:
    """Run LLaMA-Factory in processes of its own, one per device, writing to the directory `run`.

    Goes on from the last whole checkpoint of an earlier attempt at the same run. Raises InputError,
    with LLaMA-Factory's last words, when it fails, and beforehand when the traces are too few for
    one step per checkpoint, or `run` holds checkpoints of another run.
    """
    traces = data / f"{DATASET}.json"
    steps = exact_checkpoint_steps(-(-len(read_json(traces)) // settings["batch_size"]))
    devices = max(1, gpus)
    same = resumable_run.identity(
        model=base, data=traces, settings=settings, seed=seed, devices=devices
    )
    resume = last_checkpoint(run)
    resumable_run.claim(run, same, resume)
    if resume and step_of(resume) == steps[-1]:
        return
    engine = engine_settings(
        base=base,
        data=data,
        run=run,
        settings=settings,
        seed=seed,
        devices=devices,
        cpu=gpus == 0,
        resume=resume,
    )
    file = run / "settings.yaml"
    file.write_text(yaml.safe_dump(engine, sort_keys=False))
    if "deepspeed" in engine:
        stage = int(settings["deepspeed"].removeprefix("zero"))
        write_json(run / "deepspeed.json", deepspeed_settings(stage, settings["batch_size"]))
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={devices}", "-m"]
    launched = devices > 1 or "deepspeed" in engine
    command = [
        sys.executable,
        "-m",
        *(torchrun if launched else []),
        "crosslens.posttraining.sft.entrypoint",
    ]
    backend_process.run(
        "LLaMA-Factory",
        [*command, str(file), str(settings["batch_size"])],
        ENVIRONMENT | {"HF_DATASETS_CACHE": str(run / "cache")},
    )


def collect(run: Path, base: Path, targets: list[Path], loss: Path) -> None:
    """Put a run's checkpoints in their places, as plain model directories, and write its losses.

    The engine switches the key-value cache off in the models' configuration, to train; we take
    that back to what it is in `base`. Raises InputError when the run did not save after each
    fifth of its steps. The run is deleted once all is in place: a kill in between loses nothing.
    """
    saved = checkpoints(run)
    steps = [step_of(checkpoint) for checkpoint in saved]
    if not steps or steps != exact_checkpoint_steps(steps[-1]):
        raise InputError(f"LLaMA-Factory saved after steps {steps}, not after each fifth of them")
    table = loss_table(read_json(saved[-1] / "trainer_state.json")["log_history"])
    use_cache = read_json(base / "config.json").get("use_cache", True)
    ignored = shutil.ignore_patterns(COMPLETE, *STATE_FILES, *OTHER_FILES)
    for checkpoint, target in zip(saved, targets, strict=True):
        with atomic_write(target) as partial:
            shutil.copytree(checkpoint, partial, ignore=ignored, copy_function=os.link)
            config = read_json(partial / "config.json")
            write_json(partial / "config.json", config | {"use_cache": use_cache})
    write_csv(loss, table)
    remove_atomically(run)


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
