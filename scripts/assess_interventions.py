"""Compare all edits with their controls, over seeds, and judge the primary hypotheses."""

from pathlib import Path

import pandas as pd

from crosslens.analysis.comparisons import KEYS, NUMBERS, Rule, comparison_rows, with_q
from crosslens.analysis.evidence import collect_evidence
from crosslens.analysis.hypotheses import hypotheses_of
from crosslens.analysis.outcomes import Run, effect_rows, read_run
from crosslens.analysis.question_table import benchmark_of
from crosslens.config.sections import CausalProtocolConfig, EvaluationConfig
from crosslens.evaluation.questions import read_questions
from crosslens.io.progress import track
from crosslens.io.records import read_json, write_csv, write_json
from crosslens.workflow.job import run_job

DRAWS = 1000  # of the bootstrap


def main(
    *,
    questions: Path,
    table: Path,
    features: list[Path],
    records: list[Path],
    outcomes: list[Path],
    topk_records: list[Path],
    topk_outcomes: list[Path],
    evaluation: EvaluationConfig,
    protocol: CausalProtocolConfig,
    seed: int,
    effects: Path,
    compared: Path,
    evidence: Path,
) -> None:
    """Write effects.csv, comparisons.csv and evidence.json of one family.

    The first two files are only about crosscoders with an L1 penalty.
    """
    benchmark = benchmark_of(
        pd.read_csv(table), read_questions(questions), evaluation.tasks, evaluation.heldout_tasks
    )
    rule = Rule(protocol.alpha, protocol.smallest_effect, DRAWS, seed)
    runs = runs_by_target(records, outcomes)
    every = [run for seeds in runs.values() for run in seeds]
    each = [row for run in track(every, "effects") for row in effect_rows(run, benchmark)]
    write_csv(effects, pd.DataFrame(each))
    rows = [row for seeds in runs.values() for row in comparison_rows(seeds, benchmark, rule)]
    rows = with_q(rows)
    write_csv(compared, pd.DataFrame(rows, columns=[*KEYS, *NUMBERS]))
    chosen = [read_json(path) for path in features]
    topk = runs_by_target(topk_records, topk_outcomes)
    numbers = collect_evidence(hypotheses_of(protocol), runs, topk, benchmark, chosen, rows, rule)
    write_json(evidence, numbers)


def runs_by_target(records: list[Path], outcomes: list[Path]) -> dict[str, list[Run]]:
    """Return the runs of each edited model, one per seed."""
    runs: dict[str, list[Run]] = {}
    for pair in zip(records, outcomes, strict=True):
        run = read_run(*pair)
        runs.setdefault(run.target, []).append(run)
    return runs


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        questions=snakemake.input.questions,
        table=snakemake.input.table,
        features=snakemake.input.features,
        records=snakemake.input.records,
        outcomes=snakemake.input.outcomes,
        topk_records=snakemake.input.topk_records,
        topk_outcomes=snakemake.input.topk_outcomes,
        evaluation=snakemake.params.evaluation,
        protocol=snakemake.params.protocol,
        seed=snakemake.params.seed,
        effects=snakemake.output.effects,
        compared=snakemake.output.compared,
        evidence=snakemake.output.evidence,
    )
