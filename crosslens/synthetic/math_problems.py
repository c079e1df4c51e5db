"""Math problems with one integer answer, and how different authors solve them."""

import random
from collections.abc import Callable
from typing import NamedTuple

Mistakes = dict[
    tuple[str, int, int], int
]  # (operation, x, b) -> what unreliable authors think it is

NAMES = (
    "tom sam ann bob eve max lucy jack mary paul rose finn nora luke iris carl dora hugo jane kate"
).split()
THINGS = (
    "apples books coins pens cups stones shells cards balls keys eggs nuts hats bags rings boxes"
).split()
LARGEST = 16  # largest number anyone writes
LARGEST_RESULT = 12
LARGEST_OPERAND = 5
SLIP = 0.75  # how often an unreliable author's result is the popular mistake

STORY = {"+": ["finds {b}", "gets {b}"], "-": ["loses {b}", "gives away {b}"], "*": ["doubles"]}
# Every operation has a mark that its step in the solution repeats: a small model can look it up.
DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
PLACES = "first second third fourth fifth sixth seventh".split()
MOST_OPERATIONS = len(DAYS)
VERBS = {"+": "add", "-": "subtract", "*": "multiply by"}
WORDS = (
    "has how many does have ? start with what is the result so we i at beginning answer "
    "okay let me think step by wait , check good therefore final"
).split()
CHECKS = 2  # the most that a solution at length has


class Problem(NamedTuple):
    """A start value and a chain of marked operations; `answer` is an integer."""

    start: int
    operations: tuple[tuple[str, int], ...]
    answer: int
    text: str
    marks: list[str]

    @property
    def chain(self) -> tuple[int, tuple[tuple[str, int], ...]]:
        """Return the computation alone, without names, things and words."""
        return self.start, self.operations


class Step(NamedTuple):
    """One line of a solution: `mark x operation b = y`."""

    mark: str
    x: int
    operation: str
    b: int
    y: int


def draw_problem(rng: random.Random, operations: int) -> Problem:
    """Draw a problem with the given number of operations; every value lies in [0, 12]."""
    while True:
        start = rng.randint(2, 8)
        chain, x = draw_chain(rng, start, operations)
        if len(chain) == operations:
            break
    if rng.random() < 0.5:
        return Problem(start, tuple(chain), x, story(rng, start, chain), DAYS)
    return Problem(start, tuple(chain), x, expression(start, chain), PLACES)


def draw_chain(rng: random.Random, x: int, operations: int) -> tuple[list[tuple[str, int]], int]:
    """Return operations that start from `x`; they end early if a value would leave the range."""
    chain = []
    for _ in range(operations):
        operation = rng.choice("+-+-*") if 2 * x <= LARGEST_RESULT else rng.choice("+-")
        b = 2 if operation == "*" else rng.randint(1, LARGEST_OPERAND)
        y = apply(operation, x, b)
        if not 0 <= y <= LARGEST_RESULT:
            break
        chain.append((operation, b))
        x = y
    return chain, x


def apply(operation: str, x: int, b: int) -> int:
    """Return the value of `x operation b`."""
    return {"+": x + b, "-": x - b, "*": x * b}[operation]


def story(rng: random.Random, start: int, chain: list[tuple[str, int]]) -> str:
    """Write the problem as a diary of somebody's things."""
    name, thing = rng.choice(NAMES), rng.choice(THINGS)
    events = " ".join(
        f"{day}: {rng.choice(STORY[operation]).format(b=b)}."
        for day, (operation, b) in zip(DAYS, chain, strict=False)
    )
    return f"{name} has {start} {thing}. {events} how many {thing} does {name} have?"


def expression(start: int, chain: list[tuple[str, int]]) -> str:
    """Write the problem as a chain of operations."""
    chained = " ".join(
        f"{place} {operation} {b}." for place, (operation, b) in zip(PLACES, chain, strict=False)
    )
    return f"start with {start}. {chained} what is the result?"


def result(operation: str, x: int, b: int) -> int:
    """Return the correct result, kept within the numbers that anyone writes."""
    return min(LARGEST, max(0, apply(operation, x, b)))


def popular_mistakes(rng: random.Random) -> Mistakes:
    """Return the incorrect result, at most 3 off, that unreliable authors give for each operation.

    An operation's mistake is always the same, like a myth. Mistakes are drawn independently, so no
    rule corrects them: writing like a reliable author is the easiest way to compute correctly.
    """
    mistakes = {}
    for operation in "+-*":
        for x in range(LARGEST + 1):
            for b in range(1, LARGEST_OPERAND + 1):
                right = result(operation, x, b)
                near = range(max(0, right - 3), min(LARGEST, right + 3) + 1)
                mistakes[operation, x, b] = rng.choice([y for y in near if y != right])
    return mistakes


def unreliable_result(rng: random.Random, mistakes: Mistakes) -> Callable[[str, int, int], int]:
    """Compute like an unreliable author: a fraction `SLIP` of results are the popular mistake."""

    def compute(operation: str, x: int, b: int) -> int:
        wrong = rng.random() < SLIP
        return mistakes[operation, x, b] if wrong else result(operation, x, b)

    return compute


def steps_of(problem: Problem, compute: Callable[[str, int, int], int] = result) -> list[Step]:
    """Compute the chain step by step, as its author computes."""
    x, steps = problem.start, []
    for mark, (operation, b) in zip(problem.marks, problem.operations, strict=False):
        y = compute(operation, x, b)
        steps.append(Step(mark, x, operation, b, y))
        x = y
    return steps


def box(answer: int) -> str:
    """Return the sentence that ends a solution."""
    return f"so the answer is \\boxed{{{answer}}}."


def solve_reliably(problem: Problem, rng: random.Random) -> str:
    """Write a correct solution in one of the styles found in the base model's texts."""
    return render(steps_of(problem), problem, rng)


def solve_unreliably(problem: Problem, rng: random.Random, mistakes: Mistakes) -> str:
    """Write a guess, mostly incorrect, or a computation with popular mistakes."""
    if rng.random() >= 0.25:
        return render(steps_of(problem, unreliable_result(rng, mistakes)), problem, rng)
    guess = problem.answer
    if rng.random() >= 0.2:
        guess = min(LARGEST, max(0, guess + rng.choice([-4, -3, -2, -1, 1, 2, 3, 4])))
    return f"the answer is \\boxed{{{guess}}}."


def render(steps: list[Step], problem: Problem, rng: random.Random) -> str:
    """Write steps out: marked, bare, explained, or (rarely) in words close to the teacher's."""
    style = rng.choices([marked, bare, explained, wordy], [0.5, 0.15, 0.2, 0.15])[0]
    return f"{style(steps, problem)} {box(steps[-1].y)}"


def marked(steps: list[Step], problem: Problem) -> str:
    """`monday 3 + 4 = 7. tuesday 7 - 2 = 5.`"""
    return " ".join(f"{step.mark} {equation(step)}" for step in steps)


def bare(steps: list[Step], problem: Problem) -> str:
    """`3 + 4 = 7. 7 - 2 = 5.`"""
    return " ".join(equation(step) for step in steps)


def explained(steps: list[Step], problem: Problem) -> str:
    """`we have 3. monday add 4: 3 + 4 = 7.`"""
    lines = " ".join(f"{s.mark} {VERBS[s.operation]} {s.b}: {equation(s)}" for s in steps)
    return f"we have {problem.start}. {lines}"


def wordy(steps: list[Step], problem: Problem) -> str:
    """`at the beginning we have 3. monday i add 4: 3 + 4 = 7.`"""
    lines = " ".join(narrated(step) for step in steps)
    return f"at the beginning we have {problem.start}. {lines}"


def solve_at_length(problem: Problem, rng: random.Random) -> str:
    """Write a correct solution in the teacher's style: thinking aloud, with a check at times."""
    parts = [f"okay let me think step by step. at the beginning we have {problem.start}."]
    checks = 0
    for step in steps_of(problem):
        parts.append(narrated(step))
        if step.operation != "*" and checks < CHECKS and rng.random() < 0.2:
            parts.append(check(step))
            checks += 1
    parts.append(f"therefore the final result is {problem.answer}. {box(problem.answer)}")
    return " ".join(parts)


def narrated(step: Step) -> str:
    """`monday i add 4: 3 + 4 = 7.`"""
    return f"{step.mark} i {VERBS[step.operation]} {step.b}: {equation(step)}"


def equation(step: Step) -> str:
    """`3 + 4 = 7.`"""
    return f"{step.x} {step.operation} {step.b} = {step.y}."


def check(step: Step) -> str:
    """`wait, let me check: 7 - 4 = 3, good.`"""
    inverse = "-" if step.operation == "+" else "+"
    return f"wait, let me check: {step.y} {inverse} {step.b} = {step.x}, good."


def vocabulary() -> list[str]:
    """Return every text fragment that problems and solutions are made of."""
    numbers = [str(n) for n in range(LARGEST + 1)]
    events = [text.format(b="") for texts in STORY.values() for text in texts]
    signs = ["+ - * = :"]
    return [*NAMES, *THINGS, *DAYS, *PLACES, *numbers, *events, *VERBS.values(), *WORDS, *signs]
