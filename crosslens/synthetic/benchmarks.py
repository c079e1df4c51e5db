"""Benchmark files in the exact columns of the hub's data sets."""

import random
from collections.abc import Callable

from crosslens.io.errors import InputError
from crosslens.synthetic.authors import LETTERS, READ_ABOUT, order_puzzle, passage_about
from crosslens.synthetic.corpora import PATIENCE
from crosslens.synthetic.facts import LISTED_QUESTIONS, VALUES, Fact, World, options
from crosslens.synthetic.math_problems import Problem, draw_problem, solve_reliably

MATH_SETS = ["math500", "aime24", "aime25"]


def math_problems(seed: int, count: int, most: int) -> dict[str, list[Problem]]:
    """Return `count` problems of each math set; the hardest have `most` operations."""
    rng = random.Random(f"math {seed}")
    return {name: distinct(rng, name, count, ops) for name, ops in thirds(most).items()}


def benchmarks(
    world: World, seed: int, *, math: dict[str, list[Problem]], questions: int
) -> dict[str, list[dict]]:
    """Return all benchmark sets: name -> rows; at most `questions` questions in each."""
    rng = random.Random(f"benchmarks {seed}")
    sets = {name: build(rng, world, questions) for name, build in QUESTION_SETS.items()}
    for name, problems in math.items():
        sets[name] = [MATH_ROWS[name](i, problem, rng) for i, problem in enumerate(problems)]
    return sets


def thirds(most: int) -> dict[str, tuple[int, int]]:
    """Return the lowest and highest number of operations of each set: a third, two thirds, all."""
    bounds = [-(-most * k // 3) for k in range(4)]
    return {
        name: (min(low + 1, high), high)
        for name, low, high in zip(MATH_SETS, bounds, bounds[1:], strict=False)
    }


def distinct(
    rng: random.Random, name: str, count: int, operations: tuple[int, int]
) -> list[Problem]:
    """Return distinct problems of one difficulty.

    Raises InputError when there are too few problems of that difficulty.
    """
    drawn: dict[str, Problem] = {}
    misses = 0
    while len(drawn) < count:
        problem = draw_problem(rng, rng.randint(*operations))
        misses = misses + 1 if problem.text in drawn else 0
        drawn.setdefault(problem.text, problem)
        if misses == PATIENCE:
            raise InputError(
                f"world.benchmark_items.math: {count} distinct problems of {name} cannot be drawn "
                f"(found {len(drawn)}). Lower this number, or raise world.max_operations."
            )
    return list(drawn.values())


def math500_row(i: int, problem: Problem, rng: random.Random) -> dict:
    """Return a row in the columns of HuggingFaceH4/MATH-500."""
    return {
        "problem": problem.text,
        "solution": solve_reliably(problem, rng),
        "answer": str(problem.answer),
        "subject": "Prealgebra",
        "level": len(problem.operations),
        "unique_id": f"test/prealgebra/{i}.json",
    }


def aime24_row(i: int, problem: Problem, rng: random.Random) -> dict:
    """Return a row in the columns of Maxwell-Jia/AIME_2024."""
    return {
        "ID": f"2024-I-{i + 1}",
        "Problem": problem.text,
        "Solution": solve_reliably(problem, rng),
        "Answer": problem.answer,
    }


def aime25_row(i: int, problem: Problem, rng: random.Random) -> dict:
    """Return a row in the columns of math-ai/aime25."""
    return {"problem": problem.text, "answer": str(problem.answer), "id": str(i)}


MATH_ROWS = {"math500": math500_row, "aime24": aime24_row, "aime25": aime25_row}


def some_of(rng: random.Random, facts: list[Fact], count: int) -> list[Fact]:
    """Return `count` different facts, or all if there are fewer: no two questions share a fact."""
    return rng.sample(facts, min(count, len(facts)))


def labelled(choices: list[str]) -> dict:
    """Return choices in the form of OpenBookQA, CommonsenseQA and ARC."""
    return {"text": choices, "label": list(LETTERS[: len(choices)])}


def openbookqa(rng: random.Random, world: World, count: int) -> list[dict]:
    """Return sentences to complete, with four choices."""
    rows = []
    for i, fact in enumerate(some_of(rng, world.about("home", "food"), count)):
        choices = options(rng, fact, 4)
        rows.append(
            {
                "id": f"obqa-{i}",
                "question_stem": fact.statement("@").split(" @")[0],
                "choices": labelled(choices),
                "answerKey": LETTERS[choices.index(fact.true)],
            }
        )
    return rows


def commonsense_qa(rng: random.Random, world: World, count: int) -> list[dict]:
    """Return questions about objects with five choices, answered by letter."""
    rows = []
    for i, fact in enumerate(some_of(rng, world.about(*LISTED_QUESTIONS), count)):
        choices = VALUES[fact.relation]
        question = rng.choice(LISTED_QUESTIONS[fact.relation]).format(entity=fact.entity)
        rows.append(
            {
                "id": f"csqa-{i}",
                "question": question,
                "question_concept": fact.entity,
                "choices": {"label": list(LETTERS), "text": choices},
                "answerKey": LETTERS[choices.index(fact.true)],
            }
        )
    return rows


def headqa_en(rng: random.Random, world: World, count: int) -> list[dict]:
    """Return questions about ailments with four choices."""
    rows = []
    for i, fact in enumerate(some_of(rng, world.about("remedy", "organ"), count)):
        choices = options(rng, fact, 4)
        rows.append(
            {
                "name": "Cuaderno_2016_1_M",
                "year": "2016",
                "category": "medicine",
                "qid": i + 1,
                "qtext": fact.question(),
                "ra": choices.index(fact.true) + 1,
                "answers": [{"aid": k + 1, "atext": text} for k, text in enumerate(choices)],
            }
        )
    return rows


def sciq(rng: random.Random, world: World, count: int) -> list[dict]:
    """Return questions with a supporting passage, four choices."""
    rows = []
    for fact in some_of(rng, world.about(*READ_ABOUT), count):
        wrong = [value for value in options(rng, fact, 4) if value != fact.true]
        rows.append(
            {
                "question": fact.question(),
                **{f"distractor{k + 1}": text for k, text in enumerate(wrong)},
                "correct_answer": fact.true,
                "support": passage_about(rng, world, fact),
            }
        )
    return rows


def arc_challenge(rng: random.Random, world: World, count: int) -> list[dict]:
    """Return questions about colors, and about climates, which follow from homes."""
    rows = []
    for i, fact in enumerate(some_of(rng, world.about("climate", "color"), count)):
        choices = options(rng, fact, 4)
        rows.append(
            {
                "id": f"arc-{i}",
                "question": fact.question(),
                "choices": labelled(choices),
                "answerKey": LETTERS[choices.index(fact.true)],
            }
        )
    return rows


def logiqa(rng: random.Random, world: World, count: int) -> list[dict]:
    """Return order puzzles with four names to choose from."""
    rows = []
    for _ in range(count):
        passage, question, choices, right, _ = order_puzzle(rng)
        label = "abcd"[choices.index(right)]
        rows.append({"label": label, "context": passage, "question": question, "options": choices})
    return rows


def piqa(rng: random.Random, world: World, count: int) -> list[dict]:
    """Return goals with two ways to reach them."""
    rows = []
    for fact in some_of(rng, world.about("tool"), count):
        first, second = options(rng, fact, 2)
        rows.append(
            {
                "goal": fact.question(),
                "sol1": first,
                "sol2": second,
                "label": [first, second].index(fact.true),
            }
        )
    return rows


QUESTION_SETS: dict[str, Callable[[random.Random, World, int], list[dict]]] = {
    f.__name__: f
    for f in (openbookqa, commonsense_qa, headqa_en, sciq, arc_challenge, logiqa, piqa)
}
