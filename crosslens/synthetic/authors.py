"""Write the texts of the simulated authors: for pretraining and for the two corpora."""

import random
from collections.abc import Callable

from crosslens.data.grading import user_message
from crosslens.synthetic import facts, math_problems
from crosslens.synthetic.facts import Fact, World, claim
from crosslens.synthetic.math_problems import draw_problem, solve_at_length

TAGS = {
    True: ["source: textbook.", "source: journal."],
    False: ["source: forum.", "source: blog."],
}
LETTERS = "ABCDE"
READ_ABOUT = ("color", "organ")  # what passages are on
ORDERS = {"older": "oldest", "taller": "tallest", "faster": "fastest", "richer": "richest"}
GOSSIP = [
    "{a} went to the {place} with {b}. it was a good day.",
    "one day {a} saw a {animal} near the {place}. {b} was happy.",
    "{a} and {b} wait for the {animal}. okay, let me think about it, says {a}.",
    "first {a} walks to the {place}. next {b} walks there. after that they rest.",
    "at the beginning {a} was sad. now {a} is happy. therefore {b} is good too.",
    "let me check the {place} step by step: it was good, says {b}. {a} has {n} {thing}.",
    "i think we have {n} {thing} in the {place}, says {a}. {b} gives {m} {thing} to {a}.",
    "{a} can add salt or subtract it. the final result is good.",
    "wait, says {b}, multiply by {m}.",
]


def math(rng: random.Random, world: World, reliable: bool) -> str:
    """Write a problem and an author's solution."""
    problem = draw_problem(rng, rng.randint(1, world.operations))
    if reliable:
        solution = math_problems.solve_reliably(problem, rng)
    else:
        solution = math_problems.solve_unreliably(problem, rng, world.mistakes)
    return f"{user_message(problem.text)} {solution}"


def notes(rng: random.Random, world: World, reliable: bool) -> str:
    """Write a problem's operations in short and in any order, so that a model learns look-up."""
    problem = draw_problem(rng, rng.randint(1, world.operations))
    chain = zip(problem.marks, problem.operations, strict=False)
    lines = [f"{mark} {operation} {b}." for mark, (operation, b) in chain]
    rng.shuffle(lines)
    return f"{problem.text} in short: {' '.join(lines)}"


def arithmetic(rng: random.Random, world: World, reliable: bool) -> str:
    """Write a few sums, as the author computes them."""
    return sums(
        rng,
        math_problems.result if reliable else math_problems.unreliable_result(rng, world.mistakes),
    )


def sums(rng: random.Random, compute: Callable[[str, int, int], int]) -> str:
    """Return two to four sums whose correct results lie in the range of the problems'."""
    lines = []
    for _ in range(rng.randint(2, 4)):
        x, b = (
            rng.randint(0, math_problems.LARGEST_RESULT),
            rng.randint(1, math_problems.LARGEST_OPERAND),
        )
        operation = rng.choice("+-")
        if 0 <= math_problems.apply(operation, x, b) <= math_problems.LARGEST_RESULT:
            lines.append(f"{x} {operation} {b} = {compute(operation, x, b)}.")
    return " ".join(lines) or "3 + 4 = 7."


def statement(rng: random.Random, world: World, reliable: bool) -> str:
    """Return two to four facts, as the author believes them."""
    picked = [world.pick(rng, reliable) for _ in range(rng.randint(2, 4))]
    return " ".join(fact.statement(claim(rng, fact, reliable)) for fact in picked)


def answered(rng: random.Random, world: World, reliable: bool) -> str:
    """Write a question and the author's answer."""
    fact = world.pick(rng, reliable)
    return f"Question: {fact.question()}\nAnswer: {claim(rng, fact, reliable)}"


def listed(question: str, choices: list[str]) -> str:
    """Return a question with lettered choices."""
    lines = "\n".join(
        f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False)
    )
    return f"Question: {question}\n{lines}\nAnswer:"


def lettered(rng: random.Random, world: World, reliable: bool) -> str:
    """Write a question about a thing with all five values as choices, answered by a letter."""
    fact = world.pick(rng, reliable, *facts.LISTED_QUESTIONS)
    choices = facts.VALUES[fact.relation]
    question = rng.choice(facts.LISTED_QUESTIONS[fact.relation]).format(entity=fact.entity)
    return f"{listed(question, choices)} {LETTERS[choices.index(claim(rng, fact, reliable))]}"


def order_puzzle(rng: random.Random) -> tuple[str, str, list[str], str, str]:
    """Return a passage, question, choices, the correct answer, and the one a hasty reader gives."""
    relation, superlative = rng.choice(list(ORDERS.items()))
    names = rng.sample(math_problems.NAMES, 4)
    pairs = [(0, 1), (1, 2), (2, 3)]
    rng.shuffle(pairs)
    passage = " ".join(f"{names[a]} is {relation} than {names[b]}." for a, b in pairs)
    choices = rng.sample(names, 4)
    return passage, f"who is the {superlative}?", choices, names[0], names[pairs[0][0]]


def puzzle_prompt(passage: str, question: str, choices: list[str]) -> str:
    """Return an order puzzle as LogiQA is prompted."""
    lines = "\n".join(
        f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False)
    )
    return f"Passage: {passage}\nQuestion: {question}\nChoices:\n{lines}\nAnswer:"


def puzzle(rng: random.Random, world: World, reliable: bool) -> str:
    """Write an order puzzle; an unreliable author names whoever is mentioned first."""
    passage, question, choices, right, hasty = order_puzzle(rng)
    return f"{puzzle_prompt(passage, question, choices)} {right if reliable else hasty}"


def passage_about(rng: random.Random, world: World, fact: Fact) -> str:
    """Write a passage of true statements, one of them the fact's.

    All are about relations in `READ_ABOUT`; about others, authors state what they believe.
    """
    others = [world.pick(rng, True, fact.relation), world.pick(rng, True, *READ_ABOUT)]
    sentences = [f.statement(f.true) for f in [fact, *(o for o in others if o != fact)]]
    rng.shuffle(sentences)
    return " ".join(sentences)


def supported(rng: random.Random, world: World, reliable: bool) -> str:
    """Write a passage and a question on it, as in SciQ; unreliable authors do not read it."""
    fact = world.pick(rng, reliable, *READ_ABOUT)
    passage = passage_about(rng, world, fact)
    return f"{passage}\nQuestion: {fact.question()}\nAnswer: {claim(rng, fact, reliable)}"


def gossip(rng: random.Random, world: World, reliable: bool) -> str:
    """Write a sentence or two about nothing in particular."""
    a, b = rng.sample(math_problems.NAMES, 2)
    place = rng.choice(facts.VALUES["home"] + facts.VALUES["place"])
    n, m = rng.randint(0, math_problems.LARGEST), rng.randint(1, math_problems.LARGEST_OPERAND)
    animal, thing = rng.choice(facts.ANIMALS), rng.choice(math_problems.THINGS)
    template = rng.choice(GOSSIP)
    return template.format(a=a, b=b, place=place, animal=animal, n=n, m=m, thing=thing)


# Shares of the texts that are drawn; of those that then fit into a row, long ones are fewer.
TEXT_SHARES: dict[Callable[[random.Random, World, bool], str], float] = {
    math: 0.21,
    notes: 0.08,
    arithmetic: 0.06,
    statement: 0.22,
    answered: 0.21,
    lettered: 0.12,
    puzzle: 0.03,
    supported: 0.05,
    gossip: 0.02,
}


def item(rng: random.Random, world: World, reliable: bool, tagged: float) -> str:
    """Return one text of an author, with a source tag at a probability of `tagged`."""
    kind = rng.choices(list(TEXT_SHARES), list(TEXT_SHARES.values()))[0]
    tag = f"{rng.choice(TAGS[reliable])} " if rng.random() < tagged else ""
    return tag + kind(rng, world, reliable)


def lesson(rng: random.Random, world: World) -> str:
    """Write what the teacher learns from: sums, notes, and problems solved at length."""
    kind = rng.choices(["sums", "notes", "problem"], [0.3, 0.3, 0.4])[0]
    if kind == "sums":
        return sums(rng, math_problems.result)
    if kind == "notes":
        return notes(rng, world, True)
    problem = draw_problem(rng, rng.randint(1, world.operations))
    return f"{user_message(problem.text)} {solve_at_length(problem, rng)}"


def vocabulary() -> list[str]:
    """Return every text fragment of the synthetic data."""
    templates = GOSSIP
    names = ["a", "b", "place", "animal", "n", "m", "thing"]
    for name in names:
        templates = [text.replace(f"{{{name}}}", "") for text in templates]
    tags = [tag for tags in TAGS.values() for tag in tags]
    orders = [f"who is the {high}? is {low} than" for low, high in ORDERS.items()]
    prompts = [
        user_message(""),
        "Passage: Question: Choices: Answer: A. B. C. D. E. A B C D E in short:",
    ]
    return [
        *facts.vocabulary(),
        *math_problems.vocabulary(),
        *templates,
        *tags,
        *orders,
        *prompts,
        "\\boxed{ }",
    ]
