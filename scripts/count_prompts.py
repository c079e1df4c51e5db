"""Count the training problems whose prompt GRPO can read, before anything is trained on them."""

from pathlib import Path
from tempfile import TemporaryDirectory

from crosslens.data.traces import grpo_rows, read_problems
from crosslens.io.records import write_json
from crosslens.posttraining.grpo.prompts import copy_tokenizer, counts, lengths


def main(*, base: Path, problems: Path, out: Path, longest: int, batch_size: int) -> None:
    """Write how many prompts there are, how many fit, the longest and the steps of the epoch."""
    rows = grpo_rows(read_problems(problems), batch_size)
    with TemporaryDirectory() as folder:
        tokenizer = copy_tokenizer(base, Path(folder) / "tokenizer")
        found = lengths((row["prompt"] for row in rows), tokenizer)
    write_json(out, counts(found, longest, batch_size))


if __name__ == "__main__":
    from crosslens.workflow.job import one_line

    with one_line(snakemake.log[0]):
        main(
            base=Path(snakemake.input.base),
            problems=Path(snakemake.input.problems),
            out=Path(snakemake.output[0]),
            longest=snakemake.params.grpo["max_prompt_length"],
            batch_size=snakemake.params.grpo["batch_size"],
        )
