"""Start LLaMA-Factory's trainer with exact checkpoints, two checks, and progress lines.

    python -m crosslens.posttraining.sft.entrypoint SETTINGS.yaml BATCH_SIZE

Checkpoints are saved at exactly 20%, 40%, ... of the steps, as LLaMA-Factory's `save_steps: 0.2`
rounds and may give four or six. Before the first step it checks that LLaMA-Factory's template
equals the tokenizer's chat template, and that the effective batch size is BATCH_SIZE.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

from crosslens.posttraining.backend_process import hide_media_packages
from crosslens.workflow.processes import signal_at_parents_death

if __name__ == "__main__":
    # torchrun puts each of its processes into a session: they outlive its SIGKILL, and train on.
    signal_at_parents_death()
hide_media_packages()

import torch  # noqa: E402
import yaml  # noqa: E402
from transformers import TrainerCallback, trainer  # noqa: E402

from crosslens.io.errors import InputError  # noqa: E402
from crosslens.io.progress import progress_line  # noqa: E402
from crosslens.io.records import read_json  # noqa: E402
from crosslens.posttraining.checkpoint_schedule import exact_checkpoint_steps  # noqa: E402
from crosslens.posttraining.resumable_run import mark_complete_and_prune  # noqa: E402

CHECKED = 8  # conversations on which the template is checked


class SaveCheckpoints(TrainerCallback):
    """Save at 20%, 40%, ... of the steps, and keep the training state of the last one."""

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self.steps = set(exact_checkpoint_steps(state.max_steps))

    def on_step_end(self, args, state, control, **kwargs) -> None:
        control.should_save = state.global_step in self.steps

    def on_save(self, args, state, control, **kwargs) -> None:
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # until every device has written its part
        if state.is_world_process_zero:
            mark_complete_and_prune(Path(args.output_dir) / f"checkpoint-{state.global_step}")


class CheckBatchSize(TrainerCallback):
    """Raise InputError when the effective batch size is not the configured one.

    `sft.llamafactory_options` may change the values that it results from.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        devices = args.world_size
        micro, accumulated = args.per_device_train_batch_size, args.gradient_accumulation_steps
        if micro * accumulated * devices != self.batch_size:
            raise InputError(
                f"sft.batch_size: {self.batch_size} differs from {devices} device(s) x {micro} "
                f"traces x {accumulated} accumulated steps. Correct sft.llamafactory_options."
            )


class LogProgress(TrainerCallback):
    """Print a progress line at most every ten seconds, and one at the end."""

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


def first_conversations(settings: dict[str, Any]) -> list[list[dict[str, str]]]:
    """Return the messages of the first rows of the dataset."""
    data = Path(settings["dataset_dir"])
    info = read_json(data / "dataset_info.json")[settings["dataset"]]
    return [row["messages"] for row in read_json(data / info["file_name"])[:CHECKED]]


def check_template(base, tokenizer, template, messages: list[dict[str, str]]) -> None:
    """Compare LLaMA-Factory's encoding of a conversation with the base tokenizer's chat template.

    The prompt must equal the prompt of generation, token by token. The trace must consist of the
    unchanged answer, the end token of LLaMA-Factory's `tokenizer`, and white space. `base` is the
    unchanged tokenizer, as a named template may change `tokenizer`. Raises InputError otherwise.
    """
    prompt, trace = template.encode_oneturn(tokenizer, messages)
    expected = list(
        base.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False)
    )
    if prompt != expected:
        raise InputError(
            "sft.llamafactory_options: LLaMA-Factory's template differs from the "
            f"tokenizer's chat template: prompts are {tokenizer.decode(prompt)!r} and "
            f"{tokenizer.decode(expected)!r}. Set `template` in these options."
        )
    end = tokenizer.eos_token_id
    answer = trace[: trace.index(end)] if end in trace else trace
    encoded, trace_text = (
        tokenizer.decode(ids).strip()
        for ids in (answer, tokenizer.encode(messages[-1]["content"], add_special_tokens=False))
    )
    if encoded != trace_text and end in trace:
        raise InputError(
            "sft.llamafactory_options: LLaMA-Factory's template changes the traces. The first one "
            f"is {trace_text[:40]!r}..., encoded {encoded[:40]!r}.... Set `template` in "
            "these options."
        )
    if end not in trace or tokenizer.decode(trace[len(answer) + 1 :]).strip():
        raise InputError(
            f"sft.llamafactory_options: traces end with {tokenizer.decode(trace[-3:])!r}, not with "
            f"the end token {tokenizer.eos_token!r}. Correct the chat template, or set `template` "
            "in these options."
        )


def main(file: Path, batch_size: int) -> None:
    """Check the template, then call LLaMA-Factory's run_exp."""
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer
    from llamafactory.train.tuner import run_exp

    settings = yaml.safe_load(file.read_text())
    model_args, data_args, *_ = get_train_args(dict(settings))
    base, tokenizer = (load_tokenizer(model_args)["tokenizer"] for _ in range(2))
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    for messages in first_conversations(settings):
        check_template(base, tokenizer, template, messages)
    trainer.PrinterCallback = LogProgress
    run_exp(dict(settings), callbacks=[SaveCheckpoints(), CheckBatchSize(batch_size)])


def leave() -> None:
    """End one of several finished processes at once.

    Threads of DeepSpeed or gloo may outlive the training, and can abort the interpreter's end:
    torchrun would call a complete training failed. It was seen once, in the tests.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]))
    except InputError as error:
        sys.exit(f"Error: {error}")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        leave()
