r"""Make the base model and the problems of tests/config/real.yaml.

    .venvs/sft/bin/python tests/study/make_real_base.py SMOLLM2 OUT [--no-cold-start]

SMOLLM2 is the directory that shared/real/make_smollm2.py makes. As it is, the model solves none of
the word problems in the study's prompt, so GRPO would have no answer to reward. It therefore gets a
cold start: LLaMA-Factory fine-tunes it on equations of one step that give the known answers. Every
other answer is in the box that the prompt asks for, `7 - 3 = 4. The answer is \boxed{4}.`, and the
rest are bare. So base gives either form, and post-training has a form to learn within twenty steps.
The study's problems are others, of the same kind.

Without the cold start, base is SmolLM2 with a short chat template.

OUT: base/ (the model), problems.jsonl (to train on, with solutions), word_problems.jsonl (to ask),
cold-start.csv (the losses, if any).
"""

import re
import sys
from pathlib import Path

from real_word_problems import problem_sets
from transformers import AutoTokenizer

from crosslens.config.sections import SFTConfig
from crosslens.data.traces import DATASET, dataset_info, sft_rows
from crosslens.io.atomic import remove_atomically
from crosslens.io.records import write_json, write_jsonl
from crosslens.posttraining.sft import llama_factory

# The model's own template adds a system prompt of twenty tokens, a quarter of a prompt's length.
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SETTINGS = {
    "learning_rate": 5.0e-5,
    "batch_size": 8,
    "micro_batch_size": 8,
    "max_length": 256,
    "warmup_ratio": 0.1,
    "lr_scheduler": "cosine",
    "bf16": False,
    "deepspeed": "none",
    "llamafactory_options": {"num_train_epochs": 2.0},
}


def prepare_model(smollm2: Path, out: Path) -> None:
    """Link the model's files to `out`, with the short chat template."""
    out.mkdir(parents=True)
    for file in smollm2.iterdir():
        (out / file.name).symlink_to(file.resolve())
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    tokenizer.chat_template = TEMPLATE
    for file in (*out.glob("*token*"), *out.glob("chat_template*")):
        file.unlink()
    tokenizer.save_pretrained(out)


def solution(row: dict, *, boxed: bool) -> str:
    """Return a problem's equation and answer, in the box that the prompt asks for or bare."""
    return row["solution"] if boxed else re.sub(r"\\boxed\{(.*)\}", r"\1", row["solution"])


def prepare_conversations(rows: list[dict], out: Path) -> None:
    """Write the cold start's problems and equations as LLaMA-Factory's dataset."""
    out.mkdir()
    traces = [{**row, "response": solution(row, boxed=k % 2 == 0)} for k, row in enumerate(rows)]
    write_json(out / f"{DATASET}.json", sft_rows(traces))
    write_json(out / "dataset_info.json", dataset_info())


def cold_start(smollm2: Path, rows: list[dict], out: Path) -> None:
    """Write base, the model in `smollm2` fine-tuned on the rows, and its losses to `out`."""
    prepare_conversations(rows, out / "conversations")
    llama_factory.train(
        base=smollm2,
        data=out / "conversations",
        run=out / ".run",
        settings=SFTConfig(**SETTINGS),
        seed=0,
        gpus=0,
    )
    parts = [out / f"part-{k}" for k in range(1, 6)]
    llama_factory.collect_checkpoints(out / ".run", smollm2, parts, out / "cold-start.csv")
    parts[-1].rename(out / "base")
    for folder in (*parts[:-1], out / "conversations"):
        remove_atomically(folder)


def main(smollm2: Path, out: Path, *options: str) -> None:
    """Write base, fine-tuned unless it shall not be, and the problems that it has not seen."""
    start, trained, asked = problem_sets()
    print(f"the cold start has {len(start)} problems, the study trains on {len(trained)}")
    if "--no-cold-start" in options:
        prepare_model(smollm2, out / "base")
    else:
        prepare_model(smollm2, out / "smollm2")
        cold_start(out / "smollm2", start, out)
        remove_atomically(out / "smollm2")
    write_jsonl(out / "problems.jsonl", trained)
    write_jsonl(out / "word_problems.jsonl", asked)


if __name__ == "__main__":
    source, target, *options = sys.argv[1:]
    main(Path(source), Path(target), *options)
