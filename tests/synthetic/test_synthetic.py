"""The mini world: solvable problems, true schemas, no leak, and the same from the same seed."""

import random

import pytest
import torch

from crosslens.config.sections.synthetic import SyntheticModelConfig
from crosslens.data.grading import extract_answer, is_correct, user_message
from crosslens.io.errors import InputError
from crosslens.synthetic import benchmarks as benchmark_files
from crosslens.synthetic import math_problems
from crosslens.synthetic.authors import TEXT_SHARES, vocabulary
from crosslens.synthetic.benchmarks import MATH_SETS, benchmarks, distinct, thirds
from crosslens.synthetic.corpora import (
    distinct_problems,
    general_rows,
    problem_rows,
    reasoning_rows,
)
from crosslens.synthetic.facts import World, claim
from crosslens.synthetic.math_problems import Problem
from crosslens.synthetic.pretraining import (
    Schedule,
    base_rows,
    build_model,
    next_token_loss,
    rate_at,
    teacher_rows,
    train,
)
from crosslens.synthetic.tokenizer import build_tokenizer, encoder

COLUMNS = {
    "openbookqa": {"id", "question_stem", "choices", "answerKey"},
    "commonsense_qa": {"id", "question", "question_concept", "choices", "answerKey"},
    "headqa_en": {"name", "year", "category", "qid", "qtext", "ra", "answers"},
    "sciq": {
        "question", "distractor1", "distractor2", "distractor3", "correct_answer", "support",
    },
    "arc_challenge": {"id", "question", "choices", "answerKey"},
    "logiqa": {"label", "context", "question", "options"},
    "piqa": {"goal", "sol1", "sol2", "label"},
    "math500": {"problem", "solution", "answer", "subject", "level", "unique_id"},
    "aime24": {"ID", "Problem", "Solution", "Answer"},
    "aime25": {"problem", "answer", "id"},
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(vocabulary(), 512)


@pytest.fixture(scope="module")
def math() -> dict[str, list[Problem]]:
    return benchmark_files.math_problems(0, 20, 6)


@pytest.fixture(scope="module")
def sets(math) -> dict[str, list[dict]]:
    return benchmarks(World(0), 0, math=math, questions=30)


def problem_of(*operations: tuple[str, int], start: int = 3) -> Problem:
    x = start
    for operation, b in operations:
        x = math_problems.apply(operation, x, b)
    return Problem(start, operations, x, "?", math_problems.DAYS)


def test_a_worked_problem() -> None:
    problem = problem_of(("+", 4), ("*", 2), ("-", 5))
    assert problem.answer == 9
    assert math_problems.marked(math_problems.steps_of(problem), problem) == (
        "monday 3 + 4 = 7. tuesday 7 * 2 = 14. wednesday 14 - 5 = 9."
    )


@pytest.mark.parametrize("solve", [math_problems.solve_reliably, math_problems.solve_at_length])
def test_reliable_solutions_are_right_by_the_grader(solve) -> None:
    rng = random.Random(0)
    for _ in range(50):
        problem = math_problems.draw_problem(rng, rng.randint(1, 6))
        assert is_correct(solve(problem, rng), str(problem.answer))


def test_unreliable_solutions_are_mostly_wrong() -> None:
    rng, mistakes = random.Random(0), World(0).mistakes
    drawn = [math_problems.draw_problem(rng, 4) for _ in range(300)]
    solutions = [math_problems.solve_unreliably(p, rng, mistakes) for p in drawn]
    right = [extract_answer(s) == str(p.answer) for s, p in zip(solutions, drawn, strict=True)]
    assert 0.05 < sum(right) / len(right) < 0.4


def test_popular_mistakes_are_wrong_near_and_unlike_each_other() -> None:
    mistakes = World(0).mistakes
    off = [y - math_problems.result(*sum_) for sum_, y in mistakes.items()]
    assert len(mistakes) == 3 * 17 * 5
    assert set(off) == {-3, -2, -1, 1, 2, 3}
    assert max(map(off.count, set(off))) < len(off) / 3
    assert mistakes == World(0).mistakes != World(1).mistakes


def test_reliable_authors_say_the_truth_and_unreliable_ones_the_myth() -> None:
    rng, world = random.Random(0), World(0)
    claims = [(f, claim(rng, f, True), claim(rng, f, False)) for f in world.facts * 10]
    assert sum(said == f.true for f, said, _ in claims) / len(claims) > 0.95
    assert 0.6 < sum(said == f.myth for f, _, said in claims) / len(claims) < 0.85
    assert all(f.true != f.myth for f in world.facts)


@pytest.mark.parametrize("name", COLUMNS)
def test_benchmarks_have_the_columns_of_the_hub(sets, name: str) -> None:
    assert all(set(row) == COLUMNS[name] for row in sets[name])


@pytest.mark.parametrize(
    ("most", "ranges"),
    [
        (6, [(1, 2), (3, 4), (5, 6)]),
        (3, [(1, 1), (2, 2), (3, 3)]),
        (1, [(1, 1), (1, 1), (1, 1)]),
    ],
)
def test_math_sets_rise_in_difficulty(most: int, ranges: list[tuple[int, int]]) -> None:
    assert list(thirds(most).values()) == ranges


def test_no_benchmark_problem_is_among_the_training_problems() -> None:
    """Nor told with other names and things: what is to be computed differs."""
    exams = benchmark_files.math_problems(0, 60, 2)["math500"]
    chains = {problem.chain for problem in exams}
    drawn = distinct_problems(random.Random(0), 300, 2, exams)
    assert len({problem.text for problem in drawn}) == 300
    assert not chains & {problem.chain for problem in drawn}
    assert chains & {problem.chain for problem in distinct_problems(random.Random(0), 300, 2, [])}
    rows = problem_rows(random.Random(0), 300, 2, exams)
    assert [row["problem"] for row in rows] == [problem.text for problem in drawn]


@pytest.mark.slow
def test_a_world_with_too_few_problems_says_so() -> None:
    with pytest.raises(InputError, match="world.problems"):
        distinct_problems(random.Random(0), 100_000, 1, [])
    with pytest.raises(InputError, match="benchmark_items.math: .* of math500 cannot be drawn"):
        distinct(random.Random(0), "math500", 100_000, (1, 1))


def test_everything_is_in_the_vocabulary(tokenizer, sets) -> None:
    rng, world = random.Random(0), World(0)
    texts = [kind(rng, world, reliable) for kind in TEXT_SHARES for reliable in (True, False)] * 20
    for name in MATH_SETS:
        texts += [r.get("problem", r.get("Problem")) for r in sets[name]]
    texts += [r["support"] + r["question"] for r in sets["sciq"]]
    assert tokenizer.unk_token_id not in {i for t in texts for i in tokenizer.encode(t)}


def test_the_fast_encoder_is_the_tokenizer(tokenizer) -> None:
    rng, world, encode = random.Random(1), World(1), encoder(tokenizer)
    for kind in TEXT_SHARES:
        for reliable in (True, False):
            text = kind(rng, world, reliable)
            assert encode(text) == tokenizer.encode(text)


def test_solutions_fit_the_lengths_of_training() -> None:
    rng, world = random.Random(0), World(0)
    encode = encoder(build_tokenizer(vocabulary(), 512))
    hardest = [math_problems.draw_problem(rng, world.operations) for _ in range(500)]
    assert max(len(encode(user_message(p.text))) for p in hardest) <= 96
    assert max(len(encode(math_problems.solve_reliably(p, rng))) for p in hardest) <= 90
    assert max(len(encode(math_problems.solve_at_length(p, rng))) for p in hardest) <= 150


def test_the_chat_template_renders_what_pretraining_reads(tokenizer) -> None:
    problem = math_problems.draw_problem(random.Random(0), 2)
    turns = [
        user_message(problem.text),
        " " + math_problems.solve_at_length(problem, random.Random(0)),
    ]
    roles = zip(["user", "assistant"], turns, strict=True)
    messages = [{"role": role, "content": turn} for role, turn in roles]
    read = [*tokenizer.encode("".join(turns)), tokenizer.eos_token_id]
    assert tokenizer.apply_chat_template(messages, return_dict=False) == read
    prompt = tokenizer.apply_chat_template(
        messages[:1], add_generation_prompt=True, return_dict=False
    )
    assert prompt == tokenizer.encode(turns[0])


def test_a_boxed_answer_survives_the_tokenizer(tokenizer) -> None:
    text = tokenizer.decode(tokenizer.encode(math_problems.box(12)))
    assert extract_answer(text) == "12"


def test_corpora_reach_their_size_without_the_math_benchmarks(tokenizer) -> None:
    exams = benchmark_files.math_problems(0, 60, 1)["math500"]
    world, shares = World(0, 1), {"reliable_fraction": 0.3, "source_tag_fraction": 0.5}
    traces = reasoning_rows(random.Random(0), tokenizer, 3000, 1, exams)
    assert [turn["from"] for turn in traces[0]["conversations"]] == ["user", "assistant"]
    general = general_rows(random.Random(0), tokenizer, 3000, world, shares, exams)
    read = [[turn["value"] for turn in row["conversations"]] for row in traces]
    for texts in ([" ".join(turns) for turns in read], [row["text"] for row in general]):
        assert sum(len(tokenizer.encode(text)) for text in texts) >= 3000
        assert not any(problem.text in text for text in texts for problem in exams)


def test_the_same_seed_gives_the_same_documents(tokenizer) -> None:
    rows = [
        base_rows(tokenizer, World(s), s, 4, 64, reliable_fraction=0.3, source_tag_fraction=0.5)
        for s in (0, 0, 1)
    ]
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["qwen3", "qwen2", "llama"])
def test_every_architecture_learns(tokenizer, architecture: str) -> None:
    sizes = SyntheticModelConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    model = build_model(architecture, sizes, tokenizer, 0)
    rows = teacher_rows(tokenizer, World(0, 1), 0, 160, 64)
    records = train(model, rows, Schedule(20, 8, 0.5))
    assert records[-1]["loss"] < records[0]["loss"] - 0.5


def test_padding_does_not_count(tokenizer) -> None:
    sizes = SyntheticModelConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    model = build_model("qwen3", sizes, tokenizer, 0)
    rows = torch.randint(6, 50, (2, 10))
    padded = torch.cat([rows, torch.full((2, 5), tokenizer.pad_token_id)], dim=1)
    torch.testing.assert_close(next_token_loss(model, rows), next_token_loss(model, padded))


def test_the_rate_warms_up_holds_and_falls_to_zero() -> None:
    schedule = Schedule(1000, 1, 0.5)
    assert rate_at(0, schedule) == pytest.approx(1 / 30)
    assert rate_at(400, schedule) == 1.0
    assert rate_at(750, schedule) == pytest.approx(0.5)
    assert rate_at(1000, schedule) == 0.0
