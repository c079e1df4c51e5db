"""Make the training data of both paradigms from one list of problems.

SFT learns from traces with a correct final answer: a teacher's, or the solutions that come with the
problems. RL gets the problems and their answers.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslens.config.benchmark_columns import PROBLEMS
from crosslens.config.sections import TracesConfig
from crosslens.data.conversations import with_think_block
from crosslens.data.grading import is_correct, user_message
from crosslens.io.errors import InputError
from crosslens.io.progress import track
from crosslens.io.records import read_jsonl
from crosslens.io.row_journal import RowJournal
from crosslens.models.batching import batches_by_length

if TYPE_CHECKING:
    from crosslens.data.teacher import Sampler

DATASET = "traces"  # its name in LLaMA-Factory's dataset_info.json


def read_problems(path: Path) -> list[dict]:
    """Read the training problems, one JSON object per line with problem, answer and source.

    Raises InputError naming file and line for a missing column, and for an empty file.
    """
    problems = read_jsonl(path)
    if not problems:
        raise InputError(f"{path}: this file has no problems. Give a file with problems.")
    for number, problem in enumerate(problems, 1):
        for column in PROBLEMS:
            if column not in problem:
                raise InputError(f"{path}, line {number}: the column {column} is missing. Add it.")
    return problems


def sample_traces(
    problems: list[dict], journal: RowJournal, draw: "Sampler", batch_size: int, seed: int
) -> None:
    """Append a teacher's answers to the journal, except those that it already has.

    Complete batches of an interrupted run are kept, and each batch has its own seed, so the traces
    equal those of an uninterrupted run.
    """
    messages = [user_message(row["problem"]) for row in problems]
    batches = list(batches_by_length(dict(enumerate(messages)), batch_size))
    done = {row["row"] for row in journal.rows}
    left = [(k, batch) for k, batch in enumerate(batches) if not done.issuperset(batch)]
    if done:
        print(f"{len(done)} of {len(problems)} traces are kept from a previous run")
    for k, batch in track(left, "sampling", unit="batches"):
        answers = draw([messages[i] for i in batch], (seed + k * batch_size) % 2**31)
        journal.append(
            [
                {"row": i, "response": a.text, "tokens": a.tokens, "ended": a.ended}
                for i, a in zip(batch, answers, strict=True)
            ]
        )


def solutions_as_traces(problems: list[dict]) -> list[dict]:
    """Return the problems' own solutions as complete traces; a problem without one has no trace."""
    return [
        {**without_solution(row), "response": row["solution"], "ended": True}
        for row in problems
        if row.get("solution")
    ]


def without_solution(problem: dict) -> dict:
    """Return a problem's columns without its solution."""
    return {column: value for column, value in problem.items() if column != "solution"}


def keep_correct(traces: list[dict], settings: TracesConfig) -> list[dict]:
    """Return the traces that ended and whose final answer is correct (rejection sampling).

    Raises InputError when there is none: then the data or the teacher must be wrong.
    """
    kept = [
        trace
        for trace in track(traces, "grading", unit="traces")
        if trace["ended"] and is_correct(trace["response"], trace["answer"])
    ]
    if not kept:
        raise none_correct(traces, settings)
    return kept


def none_correct(traces: list[dict], settings: TracesConfig) -> InputError:
    """Return the error for traces of which none is correct."""
    if settings.teacher is None:
        return InputError(
            f"traces.backend: none of the problems' {len(traces)} solutions ends in a box with the "
            "problem's answer. Correct problems.sources, or sample from a teacher."
        )
    ended = sum(trace["ended"] for trace in traces)
    return InputError(
        f"traces.teacher: {settings.teacher} solves none of {len(traces)} problems ({ended} "
        "completions ended before traces.max_new_tokens). Check the model and its chat template."
    )


def sft_rows(traces: list[dict]) -> list[dict]:
    """Return conversations of one user turn and one assistant turn, in OpenAI's message form."""
    return [
        {
            "messages": [
                {"role": "user", "content": user_message(trace["problem"])},
                {"role": "assistant", "content": with_think_block(trace["response"])},
            ]
        }
        for trace in traces
    ]


def dataset_info() -> dict[str, Any]:
    """Return LLaMA-Factory's description of traces.json.

    The formatting is `sharegpt` with OpenAI's role names, because `openai` would add a system turn
    ("detailed thinking off") to every conversation.
    """
    return {
        DATASET: {
            "file_name": f"{DATASET}.json",
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "system_tag": "system",
            },
        }
    }


def grpo_rows(problems: list[dict], batch_size: int) -> list[dict]:
    """Return verl's columns, one row per problem.

    Raises InputError when the problems do not fill one batch of `grpo.batch_size`.
    """
    if len(problems) < batch_size:
        raise InputError(
            f"grpo.batch_size: {batch_size} is more than the {len(problems)} problems. Lower "
            "grpo.batch_size, or give more problems."
        )
    return [
        {
            "data_source": problem["source"],
            "prompt": [{"role": "user", "content": user_message(problem["problem"])}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": problem["answer"]},
            "extra_info": {"index": index, "split": "train", "problem": problem["problem"]},
        }
        for index, problem in enumerate(problems)
    ]


def assert_same_problems(sft: list[dict], grpo: list[dict]) -> None:
    """Check the paper's premise: RL learns from every prompt and answer that SFT learns from.

    Raises InputError naming the first trace that has no problem.
    """
    answered = {(row["prompt"][0]["content"], row["reward_model"]["ground_truth"]) for row in grpo}
    unmatched_traces = [
        trace for trace in sft if (user_message(trace["problem"]), trace["answer"]) not in answered
    ]
    if unmatched_traces:
        raise InputError(
            f"data/traces: {len(unmatched_traces)} traces match no problem in problems.jsonl; "
            f"first: {unmatched_traces[0]['problem']!r}. Delete data/traces/ to sample "
            "them again."
        )


def counts(problems: list[dict], traces: list[dict], kept: list[dict]) -> dict[str, float]:
    """Return the numbers that the manifest records; token counts exist only for sampled traces."""
    tokens = [trace["tokens"] for trace in kept if "tokens" in trace]
    return {
        "problems": len(problems),
        "traces": len(traces),
        "ended": sum(trace["ended"] for trace in traces),
        "kept": len(kept),
        "fraction_kept": len(kept) / len(traces),
        **({"mean_tokens_kept": sum(tokens) / len(tokens)} if tokens else {}),
    }
