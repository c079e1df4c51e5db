"""Check the data files that a configuration names: they exist and have their columns."""

from pathlib import Path
from typing import Any

from crosslens.config import benchmark_columns
from crosslens.config.json_files import (
    check_any_column,
    check_columns,
    count_lines,
    existing,
    first_row,
)
from crosslens.config.local_models import check_hub_name
from crosslens.config.locations import is_synthetic, named_paths
from crosslens.config.messages import suggestion
from crosslens.config.sections import DatasetSource
from crosslens.config.study import StudyConfig
from crosslens.config.study_design import N_CHECKPOINTS, trains
from crosslens.io.errors import InputError


def check_synthetic_paths(study: StudyConfig) -> None:
    """Raise InputError for a path among the synthetic data that no rule makes."""
    evaluation = study.evaluation
    tasks = {*evaluation.tasks, *evaluation.heldout_tasks, *evaluation.math}
    made = ["base", "teacher", "problems.jsonl", "corpora/reasoning.jsonl", "corpora/general.jsonl"]
    made += [f"benchmarks/{t}.jsonl" for t in sorted(tasks & benchmark_columns.TASKS.keys())]
    made_paths = [f"results/{study.study}/world/{path}" for path in made]
    for key, path in named_paths(study):
        if not is_synthetic(path, study):
            continue
        if study.world is None:
            raise InputError(
                f"{key}: {path} is part of the synthetic data, but the section world is missing. "
                "Add the section, or give another path."
            )
        if path not in made_paths:
            raise InputError(f"{key}: no rule creates {path}. {suggestion(path, made_paths)}")


def check_problems(study: StudyConfig) -> None:
    """Raise InputError unless problems have their columns and fill a batch for each checkpoint."""
    if not study.problems or not trains(study.families):
        return
    enough, fewest = N_CHECKPOINTS * study.grpo.batch_size, study.problems.expected_count[0]
    counts = dict(
        count_problems(f"problems.sources.{name}", source, study, enough, fewest)
        for name, source in study.problems.sources.items()
    )
    check_solutions(study)
    for name, source in study.problems.exclude.items():
        check_source(f"problems.exclude.{name}", source, study)
    keys, count = list(counts), sum(counts.values())
    if study.problems.limit != "all" and study.problems.limit < count:
        keys, count = ["problems.limit"], study.problems.limit
    if count < enough:
        raise InputError(
            f"{' and '.join(keys)}: {count} problems are too few for {N_CHECKPOINTS} steps of "
            f"grpo.batch_size: {study.grpo.batch_size}, one step per checkpoint. Give at "
            f"least {enough}, or lower grpo.batch_size."
        )
    if study.world and list(counts) == ["world.problems"]:  # all of them are kept
        check_expected_count(study.world.problems, study.problems.expected_count)


def count_problems(
    key: str, source: DatasetSource, study: StudyConfig, enough: int, fewest: int
) -> tuple[str, int]:
    """Return the key that sets a source's number of problems, and the number, up to `enough`.

    A source that cannot be counted here counts as `fewest`, the smallest expected number.
    """
    if path := check_source(key, source, study):
        for names in benchmark_columns.GIVEN_PROBLEMS:
            check_any_column(key, path, names)
        return f"{key}: {path}", count_lines(key, path, enough)
    if study.world and source.revision is None and is_synthetic(source.dataset, study):
        return "world.problems", study.world.problems
    return "problems.expected_count", fewest


def check_solutions(study: StudyConfig) -> None:
    """Raise InputError if the problems' solutions should be the traces, but no source has any.

    Data sets that cannot be read here are checked by filter_traces.
    """
    traces, problems = study.traces, study.problems
    if traces is None or problems is None or traces.backend != "solutions":
        return
    for name, source in problems.sources.items():
        key = f"problems.sources.{name}"
        path = check_source(key, source, study)
        if path and has_solution(first_row(key, path)):
            return
        if path is None and not is_synthetic(source.dataset, study):
            return
    raise InputError(
        "traces.backend: solutions needs a column solution, or answers in GSM8K's form, but no "
        f"source in problems.sources ({', '.join(problems.sources)}) has them. Add such a source, "
        "or sample from a teacher."
    )


def has_solution(row: dict[str, Any]) -> bool:
    """Return whether a problem comes with a worked solution."""
    answers = (str(row.get(column) or "") for column in benchmark_columns.ANSWER_COLUMNS)
    return bool(row.get("solution")) or any(benchmark_columns.GSM8K_MARK in a for a in answers)


def check_expected_count(made: int, expected: list[int]) -> None:
    """Raise InputError if there are more or fewer synthetic problems than expected."""
    least, most = expected
    if not least <= made <= most:
        raise InputError(
            f"world.problems: {made} is outside problems.expected_count: {least} to {most}. "
            "Change one of these keys."
        )


def check_source(key: str, source: DatasetSource, study: StudyConfig) -> str | None:
    """Return the path of a user-supplied JSON-lines file; None for any other data set.

    Raises InputError for a file that does not exist and for a bad name on the hub.
    """
    path = source.dataset
    if source.revision is not None:
        check_hub_name(key, path)
    elif not is_synthetic(path, study) and not Path(path).is_dir():
        return str(existing(key, path)) if path.endswith(".jsonl") else None
    return None


def check_benchmarks(study: StudyConfig) -> None:
    """Raise InputError unless every local benchmark file has the columns its task reads."""
    for task, source in study.evaluation.files.items():
        key = f"evaluation.files.{task}"
        if path := check_source(key, source, study):
            columns = benchmark_columns.columns(task, math=task in study.evaluation.math)
            check_columns(key, path, columns)


def check_corpus(study: StudyConfig) -> None:
    """Raise InputError unless every local source of the corpus has text or conversations."""
    for name, source in study.corpus.sources.items():
        key = f"corpus.sources.{name}"
        if path := check_source(key, source, study):
            check_any_column(key, path, benchmark_columns.CORPUS)
