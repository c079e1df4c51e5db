"""Sample one worked solution of every training problem from the teacher."""

from pathlib import Path
from typing import Any

from crosslens.answers import user_message
from crosslens.files import write_jsonl
from crosslens.teacher import answers
from crosslens.traces import read_problems


def main(
    *, teacher: Path, problems: Path, out: Path, settings: dict[str, Any], seed: int, gpus: int
) -> None:
    """Write one row per problem: the problem's columns, response, tokens, ended."""
    rows = read_problems(problems)
    sampled = answers(
        teacher,
        [user_message(row["problem"]) for row in rows],
        backend=settings["backend"],
        temperature=settings["temperature"],
        max_new_tokens=settings["max_new_tokens"],
        batch_size=settings["batch_size"],
        seed=seed,
        gpus=gpus,
    )
    write_jsonl(
        out,
        [
            {**row, "response": answer.text, "tokens": answer.tokens, "ended": answer.ended}
            for row, answer in zip(rows, sampled, strict=True)
        ],
    )


if __name__ == "__main__":
    from crosslens.errors import one_line
    from crosslens.gpus import hold

    with one_line(snakemake.log[0]), hold(snakemake.resources.gpu):
        main(
            teacher=Path(snakemake.input.teacher),
            problems=Path(snakemake.input.problems),
            out=Path(snakemake.output[0]),
            settings=snakemake.params.traces,
            seed=snakemake.params.seed,
            gpus=snakemake.resources.gpu,
        )
