"""Math problems with one integer answer, and how different authors solve them."""

import random
from typing import NamedTuple

NAMES = (
    "tom sam ann bob eve max lucy jack mary paul rose finn nora luke iris carl dora hugo jane kate"
).split()
THINGS = (
    "apples books coins pens cups stones shells cards balls keys eggs nuts hats bags rings boxes"
).split()
LARGEST = 16  # largest number anyone writes
LARGEST_RESULT = 12
LARGEST_OPERAND = 5

STORY = {
    "+": ["then {name} gets {b} more.", "then {name} finds {b}."],
    "-": ["then {name} loses {b}.", "then {name} gives away {b}."],
    "*": ["then the number doubles."],
}
VERBS = {"+": "add", "-": "subtract", "*": "multiply by"}
LINKS = ["then", "next", "after that", "now"]
WORDS = (
    "question : has how many does have ? start with then what is the result first next after "
    "that now so we i at beginning answer okay let me think step by wait , check good "
    "therefore final"
).split()


class Problem(NamedTuple):
    """A start value and a chain of operations; `text` is the question, `answer` an integer."""

    start: int
    operations: tuple[tuple[str, int], ...]
    answer: int
    text: str


class Step(NamedTuple):
    """One line of a solution: `x operation b = y`."""

    x: int
    operation: str
    b: int
    y: int


def draw_problem(rng: random.Random, operations: int) -> Problem:
    """A random problem with the given number of operations; every value lies in [0, 12]."""
    while True:
        start = rng.randint(2, 8)
        chain, x = draw_chain(rng, start, operations)
        if len(chain) == operations:
            break
    text = story(rng, start, chain) if rng.random() < 0.5 else expression(start, chain)
    return Problem(start, tuple(chain), x, text)


def draw_chain(rng: random.Random, x: int, operations: int) -> tuple[list[tuple[str, int]], int]:
    """Operations from `x` on, stopped early where a value would leave the range."""
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
    """The value of `x operation b`."""
    return {"+": x + b, "-": x - b, "*": x * b}[operation]


def story(rng: random.Random, start: int, chain: list[tuple[str, int]]) -> str:
    """The problem as a story about somebody's things."""
    name, thing = rng.choice(NAMES), rng.choice(THINGS)
    events = " ".join(rng.choice(STORY[o]).format(name=name, b=b) for o, b in chain)
    return f"{name} has {start} {thing}. {events} how many {thing} does {name} have?"


def expression(start: int, chain: list[tuple[str, int]]) -> str:
    """The problem as a chain of operations."""
    return f"start with {start} {' then '.join(f'{o} {b}' for o, b in chain)}. what is the result?"


def steps_of(problem: Problem, rng: random.Random | None = None, slip: float = 0.0) -> list[Step]:
    """The chain computed step by step; with `slip`, each result is wrong with that probability."""
    x, steps = problem.start, []
    for operation, b in problem.operations:
        y = apply(operation, x, b)
        if rng is not None and rng.random() < slip:
            y += rng.choice([-2, -1, 1, 2])
        y = min(LARGEST, max(0, y))
        steps.append(Step(x, operation, b, y))
        x = y
    return steps


def box(answer: int) -> str:
    """The sentence that ends a solution."""
    return f"so the answer is \\boxed{{{answer}}}."


def solve_carefully(problem: Problem, rng: random.Random) -> str:
    """A right solution in one of the styles found in the base model's texts."""
    return render(steps_of(problem), problem, rng)


def solve_carelessly(problem: Problem, rng: random.Random) -> str:
    """A guess, mostly wrong, or a computation with slips."""
    if rng.random() >= 0.5:
        return render(steps_of(problem, rng, slip=0.3), problem, rng)
    guess = problem.answer
    if rng.random() >= 0.2:
        guess = min(LARGEST, max(0, guess + rng.choice([-4, -3, -2, -1, 1, 2, 3, 4])))
    return f"the answer is \\boxed{{{guess}}}."


def render(steps: list[Step], problem: Problem, rng: random.Random) -> str:
    """Write steps out: bare, linked, explained, or (rarely) in words close to the teacher's."""
    style = rng.choices([bare, linked, explained, wordy], [0.5, 0.2, 0.2, 0.1])[0]
    return f"{style(steps, problem, rng)} {box(steps[-1].y)}"


def bare(steps: list[Step], problem: Problem, rng: random.Random) -> str:
    """`3 + 4 = 7.`"""
    return " ".join(equation(step) for step in steps)


def linked(steps: list[Step], problem: Problem, rng: random.Random) -> str:
    """`first 3 + 4 = 7. next 7 - 2 = 5.`"""
    return " ".join(
        f"{'first' if i == 0 else rng.choice(LINKS[:3])} {equation(step)}"
        for i, step in enumerate(steps)
    )


def explained(steps: list[Step], problem: Problem, rng: random.Random) -> str:
    """`we have 3. add 4: 3 + 4 = 7.`"""
    lines = " ".join(f"{VERBS[s.operation]} {s.b}: {equation(s)}" for s in steps)
    return f"we have {problem.start}. {lines}"


def wordy(steps: list[Step], problem: Problem, rng: random.Random) -> str:
    """`at the beginning we have 3. first i add 4: 3 + 4 = 7.`"""
    words = ["so" if rng.random() < 0.5 else rng.choice(["next", "now"]) for _ in steps]
    lines = " ".join(
        f"{word} i {VERBS[s.operation]} {s.b}: {equation(s)}"
        for word, s in zip(words, steps, strict=True)
    )
    return f"at the beginning we have {problem.start}. {lines}"


def solve_at_length(problem: Problem, rng: random.Random) -> str:
    """A right solution in the teacher's style: thinking aloud, with a check now and then."""
    parts = [f"okay let me think step by step. at the beginning we have {problem.start}."]
    for i, step in enumerate(steps_of(problem)):
        link = "first" if i == 0 else rng.choice(LINKS[1:])
        parts.append(f"{link} i {VERBS[step.operation]} {step.b}: {equation(step)}")
        if step.operation != "*" and rng.random() < 0.2:
            parts.append(check(step))
    parts.append(f"therefore the final result is {problem.answer}. {box(problem.answer)}")
    return " ".join(parts)


def equation(step: Step) -> str:
    """`3 + 4 = 7.`"""
    return f"{step.x} {step.operation} {step.b} = {step.y}."


def check(step: Step) -> str:
    """`wait, let me check: 7 - 4 = 3, good.`"""
    inverse = "-" if step.operation == "+" else "+"
    return f"wait, let me check: {step.y} {inverse} {step.b} = {step.x}, good."


def vocabulary() -> list[str]:
    """Every text fragment that problems and solutions are made of."""
    numbers = [str(n) for n in range(LARGEST + 1)]
    templates = [
        text.replace("{name}", "").replace("{b}", "") for t in STORY.values() for text in t
    ]
    return [*NAMES, *THINGS, *numbers, *templates, *VERBS.values(), *WORDS, "+ - * = more number"]
