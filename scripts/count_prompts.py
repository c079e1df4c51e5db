"""Count the training problems whose prompts are short enough for GRPO, before any training."""

from pathlib import Path
from tempfile import TemporaryDirectory

from crosslens.data.traces import grpo_rows, read_problems
from crosslens.io.records import write_json
from crosslens.posttraining.grpo.prompts import copy_tokenizer, count_prompts, prompt_lengths
from crosslens.workflow.job import run_job


def main(*, base: Path, problems: Path, out: Path, longest: int, batch_size: int) -> None:
    """Write the numbers of prompts and of those that fit, the longest, and an epoch's steps."""
    rows = grpo_rows(read_problems(problems), batch_size)
    with TemporaryDirectory() as folder:
        tokenizer = copy_tokenizer(base, Path(folder) / "tokenizer")
        lengths = prompt_lengths((row["prompt"] for row in rows), tokenizer)
    write_json(out, count_prompts(lengths, longest, batch_size))


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        base=snakemake.input.base,
        problems=snakemake.input.problems,
        out=snakemake.output[0],
        longest=snakemake.params.grpo["max_prompt_length"],
        batch_size=snakemake.params.grpo["batch_size"],
    )
