"""The training problems, and the two corpora that crosscoders read, in the hub's columns."""

import random

from transformers import PreTrainedTokenizerFast

from crosslens.data.grading import user_message
from crosslens.io.errors import InputError
from crosslens.synthetic.authors import item
from crosslens.synthetic.facts import World
from crosslens.synthetic.math_problems import Problem, draw_problem, solve_at_length

PATIENCE = 100  # draws in a row that are not new, after which the world counts as exhausted


def distinct_problems(
    rng: random.Random, count: int, operations: int, exams: list[Problem]
) -> list[Problem]:
    """Return distinct problems, none with the same computation as a problem of a benchmark.

    Raises InputError when there are too few problems of at most `operations` operations.
    """
    drawn: dict[str, Problem] = {}
    chains = {problem.chain for problem in exams}
    misses = 0
    while len(drawn) < count:
        problem = draw_problem(rng, rng.randint(1, operations))
        if problem.chain in chains or problem.text in drawn:
            misses += 1
        else:
            drawn[problem.text], misses = problem, 0
        if misses == PATIENCE:
            raise InputError(
                f"world.problems: {count} distinct problems of at most {operations} operations "
                f"cannot be drawn (found {len(drawn)}). Lower this number, or raise "
                "world.max_operations."
            )
    return list(drawn.values())


def problem_rows(
    rng: random.Random, count: int, operations: int, exams: list[Problem]
) -> list[dict[str, str]]:
    """Draw the one list of problems that SFT and RL train on: problem, answer, source."""
    problems = distinct_problems(rng, count, operations, exams)
    return [{"problem": p.text, "answer": str(p.answer), "source": "world"} for p in problems]


def reasoning_rows(
    rng: random.Random,
    tokenizer: PreTrainedTokenizerFast,
    tokens: int,
    operations: int,
    exams: list[Problem],
) -> list[dict]:
    """Return reasoning traces of at least `tokens` tokens, in the columns of OpenThoughts-114k."""
    chains = {problem.chain for problem in exams}
    rows, size = [], 0
    while size < tokens:
        problem = draw_problem(rng, rng.randint(1, operations))
        if problem.chain in chains:
            continue
        turns = [user_message(problem.text), solve_at_length(problem, rng)]
        size += sum(length(tokenizer, turn) for turn in turns)
        roles = zip(["user", "assistant"], turns, strict=True)
        conversation = [{"from": role, "value": turn} for role, turn in roles]
        rows.append({"system": "", "conversations": conversation})
    return rows


def general_rows(
    rng: random.Random,
    tokenizer: PreTrainedTokenizerFast,
    tokens: int,
    world: World,
    shares: dict[str, float],
    exams: list[Problem],
) -> list[dict]:
    """Return general text of at least `tokens` tokens, in the columns of RedPajama.

    It contains no problems of the math benchmarks, but facts and questions about them.
    """
    asked = [problem.text for problem in exams]
    rows, size = [], 0
    while size < tokens:
        reliable = rng.random() < shares["reliable_fraction"]
        text = item(rng, world, reliable, shares["source_tag_fraction"])
        if any(problem in text for problem in asked):
            continue
        size += length(tokenizer, text)
        rows.append({"text": text, "meta": "{}", "red_pajama_subset": "world"})
    return rows


def length(tokenizer: PreTrainedTokenizerFast, text: str) -> int:
    """Return the number of tokens of a text."""
    return len(tokenizer.backend_tokenizer.encode(text).ids)
