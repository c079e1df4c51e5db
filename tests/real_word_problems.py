"""Real word problems that a model of 135M parameters can learn to solve, with their equations."""

import json
import random
import re

from real_material import real

NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.]|\.\d)")
LARGEST = 30  # of a problem's numbers and its answer
STARTED, TRAINED, ASKED = 208, 176, 64  # problems of the cold start, of the study, and asked


def equation(problem: str, answer: str) -> str | None:
    """Return the only equation of two numbers of the text that gives the answer, or None."""
    numbers = [int(number) for number in NUMBER.findall(problem)]
    if not answer.isdecimal() or len(numbers) < 2 or max(*numbers, int(answer)) > LARGEST:
        return None
    found = {
        text
        for i, a in enumerate(numbers)
        for j, b in enumerate(numbers)
        if i != j
        for text, value in results(a, b, in_order=i < j)
        if value == int(answer)
    }
    return f"{found.pop()} = {answer}" if len(found) == 1 else None


def results(a: int, b: int, *, in_order: bool) -> list[tuple[str, float]]:
    """Return the operations on two numbers and their results; a sum or product in one order."""
    both = [(f"{a} + {b}", a + b), (f"{a} * {b}", a * b)] if in_order else []
    return [*both, (f"{a} - {b}", a - b), *([(f"{a} / {b}", a / b)] if b else [])]


def solved_problems() -> list[dict]:
    """Return the easy word problems that have one equation, with it as their solution, shuffled."""
    lines = real("problems/easy_word_problems.jsonl").read_text().splitlines()
    rows = {row["problem"]: row for row in map(json.loads, lines)}
    solved = [
        {**row, "solution": f"{text}. The answer is \\boxed{{{row['answer'].strip()}}}."}
        for row in rows.values()
        if (text := equation(row["problem"], row["answer"].strip()))
    ]
    random.Random(0).shuffle(solved)
    return solved


def problem_sets() -> tuple[list[dict], list[dict], list[dict]]:
    """Return the problems of the cold start, those that the study trains on, and those it asks."""
    solved = solved_problems()
    assert len(solved) >= STARTED + TRAINED + ASKED
    asked, trained = solved[-ASKED:], solved[-ASKED - TRAINED : -ASKED]
    return solved[:STARTED], trained, asked
