"""Problems that are the same but for their typesetting, nearly so, or alike in phrases only."""

import math

import pytest

from crosslens.data.overlaps import ProblemIndex, lcs_length, longest_run, words, written_form

TRAIN = "A train leaves the town at noon and drives north at forty miles an hour until it stops"
PHRASE = "Express your answer as a common fraction in lowest terms with the smallest denominator"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"Compute $\frac{1}{2} + x_{12}$.", "compute 1 2 x 12"),
        (r"\begin{array}{cl} ax+3, &\text{ if }x>2 \end{array}", "ax 3 if x 2"),
        ("Find $x$. [asy]\ndraw((0,0)--(1,1));\n[/asy] Thanks!", "find x thanks"),
        (r"\begin{align*}y &= 5\\ z^2 &= \sqrt{7}\end{align*}", "y 5 z 2 7"),
        ("Été\u20282024", "été 2024"),
        (r"$$\left\{ \, \right\}$$", ""),
    ],
)
def test_only_words_and_numbers_count(text: str, expected: str) -> None:
    assert " ".join(words(text)) == expected


def test_operators_count_where_problems_are_the_same_text() -> None:
    assert written_form("$1+1$") == written_form("1 + 1") != written_form("1 - 1")
    assert written_form(r"\left(\dfrac12\right)") == written_form(r"(\frac12)")


@pytest.mark.parametrize(
    ("first", "second", "subsequence", "run"),
    [("abcd", "axbcy", 3, 2), ("abc", "abc", 3, 3), ("abc", "cba", 1, 1), ("ab", "cd", 0, 0)],
)
def test_common_words(first: str, second: str, subsequence: int, run: int) -> None:
    assert lcs_length(tuple(first), tuple(second)) == subsequence
    assert longest_run(tuple(first), tuple(second)) == run


def test_a_problem_with_another_number_counts_as_the_same() -> None:
    index = ProblemIndex(13, 0.6)
    index.add("math500", f"On Friday, {TRAIN}. When?")
    closest = index.closest(f"On Monday, {TRAIN}. Where?")
    assert (closest.name, closest.run) == ("math500", 18)
    assert closest.share == pytest.approx(19 / 21)
    assert closest.margin == pytest.approx(18 / 13)


def test_a_shared_phrase_is_not_enough() -> None:
    index = ProblemIndex(13, 0.6)
    index.add("aime24", f"Eight dwarfs dig for gold in nine deep and dark old mines. {PHRASE}.")
    closest = index.closest(f"Seven ships sail to some far islands without any wind now. {PHRASE}.")
    assert closest.run == 14
    assert closest.share == pytest.approx(14 / 25)
    assert closest.margin == pytest.approx(14 / 25 / 0.6)
    assert closest.margin < 1


def test_a_short_problem_counts_only_as_the_same_text() -> None:
    index = ProblemIndex(13, 0.6)
    index.add("aime24", "How many primes are there below $10$?")
    assert index.closest("how many primes are there below 10?").margin == math.inf
    assert index.closest("How many primes are there below $20$?") is None
