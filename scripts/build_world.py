"""Draw the problems, benchmarks, corpora and tokenizer of the synthetic data from the seed."""

import random
from pathlib import Path

from crosslens.config.sections.synthetic import BenchmarkItemsConfig, CorpusTokensConfig
from crosslens.config.synthetic_constants import SYNTHETIC_POSITIONS
from crosslens.io.atomic import atomic_write
from crosslens.io.records import write_jsonl
from crosslens.synthetic.authors import vocabulary
from crosslens.synthetic.benchmarks import benchmarks, math_problems
from crosslens.synthetic.corpora import general_rows, problem_rows, reasoning_rows
from crosslens.synthetic.facts import World
from crosslens.synthetic.tokenizer import build_tokenizer
from crosslens.workflow.job import run_job


def main(
    *,
    max_operations: int,
    problem_count: int,
    items: BenchmarkItemsConfig,
    tokens: CorpusTokensConfig,
    reliable_fraction: float,
    source_tag_fraction: float,
    seed: int,
    problems: Path,
    benchmark_files: list[Path],
    reasoning: Path,
    general: Path,
    tokenizer: Path,
) -> None:
    """Write every file of the synthetic data except the models."""
    facts = World(seed, max_operations)
    math = math_problems(seed, items.math, max_operations)
    exams = [problem for drawn in math.values() for problem in drawn]
    sets = benchmarks(facts, seed, math=math, questions=items.questions)
    for path in benchmark_files:
        write_jsonl(path, sets[path.stem])
    rng = random.Random(f"problems {seed}")
    write_jsonl(problems, problem_rows(rng, problem_count, max_operations, exams))
    built = build_tokenizer(vocabulary(), SYNTHETIC_POSITIONS)
    shares = {"reliable_fraction": reliable_fraction, "source_tag_fraction": source_tag_fraction}
    rng = random.Random(f"corpora {seed}")
    write_jsonl(reasoning, reasoning_rows(rng, built, tokens.reasoning, max_operations, exams))
    write_jsonl(general, general_rows(rng, built, tokens.general, facts, shares, exams))
    with atomic_write(tokenizer) as partial:
        built.save_pretrained(partial)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        max_operations=snakemake.params.max_operations,
        problem_count=snakemake.params.problems,
        items=snakemake.params.benchmark_items,
        tokens=snakemake.params.corpus_tokens,
        reliable_fraction=snakemake.params.reliable_fraction,
        source_tag_fraction=snakemake.params.source_tag_fraction,
        seed=snakemake.params.seed,
        problems=snakemake.output.problems,
        benchmark_files=snakemake.output.benchmarks,
        reasoning=snakemake.output.reasoning,
        general=snakemake.output.general,
        tokenizer=snakemake.output.tokenizer,
    )
