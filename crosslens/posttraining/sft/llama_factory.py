"""Run SFT with LLaMA-Factory: translate the settings, and collect five plain checkpoints.

The loss is cross-entropy on the teacher's trace only; all parameters are trained for one epoch.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from crosslens.config.model_compatibility import WEIGHTS
from crosslens.config.sections import SFTConfig
from crosslens.data.traces import DATASET
from crosslens.io.atomic import atomic_write, remove_atomically
from crosslens.io.errors import InputError
from crosslens.io.records import read_json, write_csv, write_json
from crosslens.posttraining import backend_process
from crosslens.posttraining.checkpoint_schedule import exact_checkpoint_steps
from crosslens.posttraining.checkpoints import convert_dtype, dtype_name
from crosslens.posttraining.resumable_run import (
    COMPLETE_MARK,
    STATE_FILES,
    checkpoint_step,
    list_checkpoints,
    run_identity,
    run_threads,
    start_or_resume,
)

LOSS_COLUMNS = ["step", "epoch", "loss", "grad_norm", "learning_rate"]
# Other files in LLaMA-Factory's checkpoints; training_args.bin is a pickle with local paths.
OTHER_FILES = ("trainer_state.json", "training_args.bin", "README.md", "latest", "zero_to_fp32.py")

# DeepSpeed looks for nvcc when it is imported on a GPU node; ZeRO compiles nothing.
ENVIRONMENT = {
    "DS_IGNORE_CUDA_DETECTION": "1",
    "HF_HUB_OFFLINE": "1",
    "LLAMAFACTORY_VERBOSITY": "WARN",
}
# How long processes wait, before the first step, for the one that tokenizes. The default is half an
# hour; one process took 28 minutes for 40,000 traces of 7,000 tokens.
WAIT_SECONDS = 6 * 3600
# A free port of this machine; by default its name, which need not resolve, would be the address.
TORCHRUN = ("torch.distributed.run", "--standalone", "--local-addr=127.0.0.1")


def deepspeed_settings(stage: int, batch_size: int) -> dict[str, Any]:
    """Return DeepSpeed's configuration for a ZeRO stage, as in LLaMA-Factory's examples.

    transformers replaces `auto` by its own arguments. The batch size is explicit, so that DeepSpeed
    refuses a different one. Complete weights are gathered for every checkpoint.
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


def backend_settings(
    *,
    base: Path,
    data: Path,
    run: Path,
    settings: SFTConfig,
    seed: int,
    devices: int,
    cpu: bool,
    resume: Path | None = None,
) -> dict[str, Any]:
    """Return LLaMA-Factory's settings, the content of its YAML file, for the `sft` section.

    Without `template` LLaMA-Factory parses the tokenizer's chat template. Its own keys,
    `sft.llamafactory_options`, take precedence. `resume` is the checkpoint to resume from.
    """
    deepspeed = settings.deepspeed != "none"
    return {
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full",
        "model_name_or_path": str(base),
        "dataset": DATASET,
        "dataset_dir": str(data),
        "cutoff_len": settings.max_length,
        "preprocessing_num_workers": devices if devices > 1 else None,
        "train_on_prompt": False,
        "output_dir": str(run),
        "overwrite_output_dir": True,
        "resume_from_checkpoint": str(resume) if resume else None,
        "num_train_epochs": 1.0,
        "per_device_train_batch_size": settings.micro_batch_size,
        "gradient_accumulation_steps": settings.batch_size // (settings.micro_batch_size * devices),
        "learning_rate": settings.learning_rate,
        "warmup_ratio": settings.warmup_ratio,
        "lr_scheduler_type": settings.lr_scheduler,
        "bf16": settings.bf16,
        "use_cpu": cpu,
        **({"deepspeed": str(run / "deepspeed.json")} if deepspeed else {}),
        "seed": seed,
        "ddp_timeout": WAIT_SECONDS,
        "save_strategy": "no",  # `entrypoint` saves at 20%, 40%, ...
        "save_only_model": False,  # an interrupted run resumes from the last checkpoint
        "logging_steps": 1,
        "disable_tqdm": True,
        "report_to": "none",
    } | settings.llamafactory_options


def train(
    *,
    base: Path,
    data: Path,
    run: Path,
    settings: SFTConfig,
    seed: int,
    gpus: int,
    software: dict[str, Any] | None = None,
) -> None:
    """Run LLaMA-Factory in one process per device, writing to the directory `run`.

    An interrupted run resumes from its last complete checkpoint. Raises InputError with
    LLaMA-Factory's last output when it fails. Raises InputError beforehand when the traces are too
    few for one step per checkpoint, or `run` holds checkpoints of a different run.
    """
    traces = data / f"{DATASET}.json"
    steps = exact_checkpoint_steps(-(-len(read_json(traces)) // settings.batch_size))
    devices = max(1, gpus)
    identity = run_identity(
        model=base,
        data=traces,
        settings=settings,
        seed=seed,
        devices=devices,
        software=software,
    )
    resume = start_or_resume(run, identity)
    if resume and checkpoint_step(resume) == steps[-1]:
        return
    options = backend_settings(
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
    file.write_text(yaml.safe_dump(options, sort_keys=False))
    if "deepspeed" in options:
        stage = int(settings.deepspeed.removeprefix("zero"))
        write_json(run / "deepspeed.json", deepspeed_settings(stage, settings.batch_size))
    variables = ENVIRONMENT | {"HF_DATASETS_CACHE": str(run / "cache")}
    if gpus == 0:
        variables["OMP_NUM_THREADS"] = run_threads(run)
    command = program(devices, launched=devices > 1 or "deepspeed" in options)
    backend_process.run_backend(
        "LLaMA-Factory", [*command, str(file), str(settings.batch_size)], variables
    )


def program(devices: int, *, launched: bool) -> list[str]:
    """Return the command of the training process, or of torchrun if it is to launch several."""
    torchrun = [*TORCHRUN, f"--nproc-per-node={devices}", "-m"] if launched else []
    return [sys.executable, "-m", *torchrun, "crosslens.posttraining.sft.entrypoint"]


def collect_checkpoints(run: Path, base: Path, targets: list[Path], loss: Path) -> None:
    """Write a run's checkpoints as plain model directories, and its losses.

    LLaMA-Factory disables the key-value cache in the models' configuration; it is restored to the
    value of `base`, and the weights have its dtype. The run is deleted after everything is written,
    so that a kill loses nothing. Raises InputError when the run did not save at 20%, 40%, ... of
    its steps, or a weight is not finite in that dtype.
    """
    saved = list_checkpoints(run)
    steps = [checkpoint_step(checkpoint) for checkpoint in saved]
    if not steps or steps != exact_checkpoint_steps(steps[-1]):
        raise InputError(
            f"sft.llamafactory_options: LLaMA-Factory saved after steps {steps}, not after each "
            "20% of them. Remove the keys that change when it saves."
        )
    table = loss_table(read_json(saved[-1] / "trainer_state.json")["log_history"])
    use_cache = read_json(base / "config.json").get("use_cache", True)
    ignored = shutil.ignore_patterns(COMPLETE_MARK, *STATE_FILES, *OTHER_FILES)
    for checkpoint, target in zip(saved, targets, strict=True):
        with atomic_write(target) as partial:
            shutil.copytree(checkpoint, partial, ignore=ignored, copy_function=os.link)
            config = read_json(partial / "config.json") | {"use_cache": use_cache}
            if dtype_name(checkpoint) != dtype_name(base):
                for file in checkpoint.glob(WEIGHTS):
                    (partial / file.name).unlink()
                    convert_dtype(file, partial / file.name, base)
                config["dtype"] = dtype_name(base)
            write_json(partial / "config.json", config)
    write_csv(loss, table)
    remove_atomically(run)


def loss_table(history: list[dict[str, float]]) -> pd.DataFrame:
    """Return one row per optimizer step: step, epoch, loss, grad_norm, learning_rate.

    Raises InputError when a loss is not finite.
    """
    table = pd.DataFrame([row for row in history if "loss" in row], columns=LOSS_COLUMNS)
    bad = table[~table["loss"].abs().lt(float("inf"))]
    if len(bad):
        raise InputError(
            f"sft.learning_rate: the loss is {bad['loss'].iloc[0]} at step "
            f"{bad['step'].iloc[0]}. Lower the learning rate."
        )
    return table
