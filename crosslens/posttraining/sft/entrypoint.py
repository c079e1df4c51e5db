"""LLaMA-Factory's trainer, started with three things it lacks.

    python -m crosslens.posttraining.sft.entrypoint SETTINGS.yaml BATCH_SIZE

It saves after each fifth of the steps (LLaMA-Factory's `save_steps: 0.2` rounds, and may give four
checkpoints or six); it checks, before any step, that the template LLaMA-Factory parsed from the
tokenizer is the tokenizer's own and that the effective batch is BATCH_SIZE; it says how far it is.
"""

import sys
import time
from pathlib import Path
from typing import Any

from crosslens.posttraining.backend_process import hide_media_packages

hide_media_packages()

import torch  # noqa: E402
import yaml  # noqa: E402
from transformers import TrainerCallback, trainer  # noqa: E402

from crosslens.io.errors import InputError  # noqa: E402
from crosslens.io.progress import progress_line  # noqa: E402
from crosslens.io.records import read_json  # noqa: E402
from crosslens.posttraining.checkpoint_schedule import exact_checkpoint_steps  # noqa: E402
from crosslens.posttraining.resumable_run import close  # noqa: E402

CHECKED = 8  # conversations whose template is checked


class Fifths(TrainerCallback):
    """Save after each fifth of the steps, whatever their number, and keep one training state."""

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self.steps = set(exact_checkpoint_steps(state.max_steps))

    def on_step_end(self, args, state, control, **kwargs) -> None:
        control.should_save = state.global_step in self.steps

    def on_save(self, args, state, control, **kwargs) -> None:
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # every device has written its part
        if state.is_world_process_zero:
            close(Path(args.output_dir) / f"checkpoint-{state.global_step}")


class Batch(TrainerCallback):
    """Refuse to train when one update would not see the configured number of traces."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        devices = args.world_size
        micro, accumulated = args.per_device_train_batch_size, args.gradient_accumulation_steps
        if micro * accumulated * devices != self.batch_size:
            raise InputError(
                f"sft.batch_size is {self.batch_size}, but {devices} device(s) x {micro} traces x "
                f"{accumulated} accumulated steps are {micro * accumulated * devices}"
            )


class Progress(TrainerCallback):
    """A line at most every ten seconds, and one at the end, in place of one for every step."""

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self.started = self.shown = time.monotonic()

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        now = time.monotonic()
        last = state.global_step == state.max_steps
        if (
            "loss" in (logs or {})
            and state.is_world_process_zero
            and (now - self.shown > 10 or last)
        ):
            self.shown = now
            done, total, seconds = state.global_step, state.max_steps, now - self.started
            line = progress_line("sft", done, total, seconds, "steps")
            print(f"{line}, loss {logs['loss']:.4f}", flush=True)


def conversations(settings: dict[str, Any]) -> list[list[dict[str, str]]]:
    """The messages of the first rows of the dataset."""
    data = Path(settings["dataset_dir"])
    info = read_json(data / "dataset_info.json")[settings["dataset"]]
    return [row["messages"] for row in read_json(data / info["file_name"])[:CHECKED]]


def check_template(base, tokenizer, template, messages: list[dict[str, str]]) -> None:
    """Compare LLaMA-Factory's encoding of a conversation with the base tokenizer's chat template.

    The prompt must be what generation starts from, token by token; the trace must hold the end
    token of LLaMA-Factory's `tokenizer`, with nothing but white space after it. (A named template
    may have changed that tokenizer: hence `base`.) Raises InputError otherwise.
    """
    prompt, trace = template.encode_oneturn(tokenizer, messages)
    wanted = list(
        base.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False)
    )
    if prompt != wanted:
        raise InputError(
            "LLaMA-Factory's template differs from the tokenizer's chat template: prompts begin "
            f"{tokenizer.decode(prompt)!r} and {tokenizer.decode(wanted)!r}: "
            "name a template in sft.options"
        )
    end = tokenizer.eos_token_id
    after = trace[trace.index(end) + 1 :] if end in trace else None
    if after is None or tokenizer.decode(after).strip():
        raise InputError(
            f"traces do not end with the end token {tokenizer.eos_token!r} but with "
            f"{tokenizer.decode(trace[-3:])!r}: "
            "correct the chat template or name one in sft.options"
        )


def main(file: Path, batch_size: int) -> None:
    """Check the template, then hand over to LLaMA-Factory's own run_exp."""
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer
    from llamafactory.train.tuner import run_exp

    settings = yaml.safe_load(file.read_text())
    model_args, data_args, *_ = get_train_args(dict(settings))
    base, tokenizer = (load_tokenizer(model_args)["tokenizer"] for _ in range(2))
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    for messages in conversations(settings):
        check_template(base, tokenizer, template, messages)
    trainer.PrinterCallback = Progress
    run_exp(dict(settings), callbacks=[Fifths(), Batch(batch_size)])


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]))
    except InputError as error:
        sys.exit(f"Error: {error}")
